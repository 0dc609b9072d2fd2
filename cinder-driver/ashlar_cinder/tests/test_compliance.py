#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Cinder's own compliance test, for our driver, and what it leaves out.

Cinder tests every driver that its registry holds, which is what has been
imported: ours alone. The test runs in a process of its own, because importing
Cinder's test cases patches the whole process for eventlet (2023.1).
"""

import inspect
import subprocess
import sys
import unittest

from ashlar_cinder import driver
from cinder.interface import volume_group_driver as groups
from cinder.interface import volume_manageable_driver as manageable
from cinder.interface import volume_snapshot_revert as revert
from cinder.interface import volume_snapshotmanagement_driver as snapshots

RUN = """
import sys, unittest
from ashlar_cinder import driver
from cinder.interface import util
from cinder.tests.compliance import test_volume_drivers
found = [info.cls for info in util.get_volume_drivers()]
assert found == [driver.AshlarDriver], found
unittest.main(test_volume_drivers, argv=['compliance'], verbosity=2)
"""


class ComplianceTest(unittest.TestCase):

    def test_cinder_finds_the_driver_compliant(self):
        done = subprocess.run([sys.executable, '-c', RUN], text=True,
                              capture_output=True, timeout=120)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn('Ran 2 tests', done.stderr)

    def test_driver_takes_what_the_optional_interfaces_give(self):
        """By name and order; Cinder's own test compares class methods only."""
        for interface in (manageable.VolumeListManageableDriver,
                          snapshots.VolumeSnapshotManagementDriver,
                          revert.VolumeSnapshotRevertDriver,
                          groups.VolumeGroupDriver):
            calls = inspect.getmembers(interface, inspect.isfunction)
            for name, call in calls:
                if name.startswith('_'):
                    continue
                with self.subTest(name):
                    given = list(inspect.signature(call).parameters)
                    taken = list(inspect.signature(
                        getattr(driver.AshlarDriver, name)).parameters)
                    self.assertEqual(given, taken[:len(given)])
