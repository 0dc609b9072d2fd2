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

"""Services of OpenStack that attach with the connector if they are told to.

Each starts in a process of its own, as far as it gets without a cloud, and
prints what it knows then. The package is found as if it were installed, by
the metadata that its own pyproject.toml makes.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parents[2]

METADATA = 'import setuptools; setuptools.setup()'

NOVA_COMPUTE = """
import json, sys
from unittest import mock
from nova.cmd import compute
sys.argv[0] = 'nova-compute'
with (mock.patch.object(compute, 'service'),
      mock.patch.object(compute, 'gmr'),
      mock.patch.object(compute, 'conductor_rpcapi'),
      mock.patch.object(compute.priv_context, 'init'),
      mock.patch('nova.config.rpc')):
    compute.main()

from nova.virt.libvirt import driver
from os_brick.initiator import connector
known = {'connectors': connector.unix_connector_list}
if 'ashlar' in driver.VOLUME_DRIVERS:
    from oslo_utils import importutils
    host = mock.Mock()
    host.find_secret.return_value = None
    made = importutils.import_object(driver.VOLUME_DRIVERS['ashlar'], host)
    info = {'data': {'device_path': '/dev/nvme7n1', 'discard': True},
            'serial': 'a-volume', 'driver_volume_type': 'ashlar'}
    disk = {'type': 'disk', 'dev': 'vdb', 'bus': 'virtio'}
    known.update(attaches_with=type(made.connector).__name__,
                 xml=made.get_config(info, disk).to_xml())
print(json.dumps(known))
"""

CINDER_BACKUP = """
import json, sys
from cinder.cmd import backup
from cinder.db import migration
from os_brick.initiator import connector
backup.objects.register_all()
backup.CONF(sys.argv[1:], project='cinder')
migration.db_sync()
made = backup.service.Service.create(
    binary='cinder-backup', service_name='backup', process_number=1)
print(json.dumps({'manager': type(made.manager).__module__,
                  'connectors': connector.unix_connector_list}))
"""

OURS = 'ashlar_brick.connector.AshlarConnector'


class ServicesTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.python(METADATA, '-q', 'egg_info', '--egg-base', self.folder)

    def python(self, program, *arguments):
        """-> what it prints"""
        path = f'{self.folder}:{HERE}'
        done = subprocess.run(
            [sys.executable, '-c', program, *arguments], cwd=HERE, text=True,
            capture_output=True, timeout=120,
            env=dict(os.environ, PYTHONPATH=path, PYTHONWARNINGS='ignore'))
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout

    def start(self, program, config):
        """Start a service with a configuration file. -> what it knows"""
        file = pathlib.Path(self.folder, 'service.conf')
        file.write_text(f'[DEFAULT]\nstate_path = {self.folder}\n'
                        f'transport_url = fake://\n{config}\n'
                        f'[database]\nconnection = sqlite:///{self.folder}/cinder.db\n')
        printed = self.python(program, '--config-file', str(file))
        return json.loads(printed.splitlines()[-1])

    def test_nova_compute_has_it_when_told(self):
        known = self.start(NOVA_COMPUTE,
                           '[os_vif_ashlar]\nuse_connector = True\n')
        self.assertIn(OURS, known['connectors'])
        self.assertEqual('AshlarConnector', known['attaches_with'])
        self.assertIn('<source dev="/dev/nvme7n1"/>', known['xml'])
        self.assertIn('<serial>a-volume</serial>', known['xml'])

    def test_nova_compute_is_as_it_was_otherwise(self):
        known = self.start(NOVA_COMPUTE, '')
        self.assertNotIn(OURS, known['connectors'])
        self.assertNotIn('attaches_with', known)

    def test_cinder_backup_has_it_when_told(self):
        known = self.start(
            CINDER_BACKUP,
            'backup_manager = ashlar_brick.cinder_backup.BackupManager\n')
        self.assertEqual('ashlar_brick.cinder_backup', known['manager'])
        self.assertIn(OURS, known['connectors'])

    def test_cinder_backup_is_as_it_was_otherwise(self):
        known = self.start(CINDER_BACKUP, '')
        self.assertEqual('cinder.backup.manager', known['manager'])
        self.assertNotIn(OURS, known['connectors'])
