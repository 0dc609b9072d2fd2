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

"""The packages of pip and of Debian are of one version."""

import pathlib
import re
import unittest

TOP = pathlib.Path(__file__).resolve().parents[3]


def version(package):
    text = (TOP / package / 'pyproject.toml').read_text()
    return re.search(r'^version = "(.+)"$', text, re.MULTILINE).group(1)


class TestPackages(unittest.TestCase):

    def test_versions(self):
        for package in ('os-brick-connector', 'cinder-driver'):
            changelog = TOP / package / 'debian' / 'changelog'
            newest = re.match(r'\S+ \((.+)\)', changelog.read_text()).group(1)
            self.assertEqual(version(package), newest, package)

    def test_driver_needs_its_brick(self):
        text = (TOP / 'cinder-driver' / 'pyproject.toml').read_text()
        self.assertIn(f'"ashlar-brick=={version("os-brick-connector")}"',
                      text)
