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

"""Every phase of the plugin, and the files that it leaves to OpenStack.

With DEVSTACK_DIR in the environment the phases are run by that checkout of
DevStack, else by stand-ins (stand-in.sh) for the functions they call.
"""

import configparser
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

PLUGIN = pathlib.Path(__file__).resolve().parents[1]
SCRIPTS = ['plugin.sh', 'settings', 'override-defaults', 'lib/ashlar',
           'tests/phases.sh', 'tests/stand-in.sh']


def read(path):
    """-> {section: {option: value}} of an ini file"""
    ini = configparser.RawConfigParser(default_section='')
    ini.read(path)
    return {name: dict(ini[name]) for name in ini.sections()}


class PluginTest(unittest.TestCase):

    def phases(self, **settings):
        """Run them all. -> (directory, calls that were made)"""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        done = subprocess.run(
            [PLUGIN / 'tests' / 'phases.sh'], text=True, capture_output=True,
            env=dict(os.environ, WORK=folder.name, **settings), timeout=600)
        self.assertEqual(0, done.returncode, done.stderr + done.stdout)
        work = pathlib.Path(folder.name)
        self.assertNotIn('secret-of-cinder', done.stdout + done.stderr)
        calls = (work / 'calls').read_text()
        self.assertNotIn('secret-of-cinder', calls)
        return work, calls.replace(folder.name, 'WORK').splitlines()

    def assert_written(self, work):
        for name in ('cinder', 'nova', 'tempest'):
            golden = PLUGIN / 'tests' / 'testdata' / f'{name}.conf'
            self.assertEqual(read(golden), read(work / f'{name}.conf'))

    def test_one_node_with_files(self):
        work, calls = self.phases()
        self.assert_written(work)
        self.assertEqual(
            {'listen-address: 127.0.0.1', 'etcd-client-port: 22379'},
            set((work / 'ashlard.yaml').read_text().splitlines()) &
            {'listen-address: 127.0.0.1', 'etcd-client-port: 22379',
             'insecure-http: true'})
        ashlar = [call.split('admin-token ')[1] for call in calls
                  if call.startswith('ashlar ')]
        self.assertEqual(
            ['pool show default'] +
            [f'device add devstack WORK/data/ashlar/device{number} '
             '--size 24GiB' for number in (1, 2, 3)] +
            ['pool create default --copies 2 --domain device',
             '--output json token create cinder --role tenant '
             '--project cinder', 'status'], ashlar)
        self.assertIn('install_package nvme-cli', calls)
        self.assertIn('stop_process ashlar', calls)
        self.assertFalse((work / 'data' / 'ashlar').exists(), 'clean')

    def test_disks_another_address_and_a_second_back_end(self):
        work, calls = self.phases(
            ASHLAR_DEVICES='/dev/vdb,/dev/vdc', ASHLAR_HOST_IP='192.0.2.7',
            CINDER_ENABLED_BACKENDS='lvm:lvm-1,ashlar:fast',
            ENABLED_SERVICES='c-vol')
        self.assertIn('insecure-http: true',
                      (work / 'ashlard.yaml').read_text())
        added = [call.split()[-1] for call in calls if ' device add' in call]
        self.assertEqual(['/dev/vdb', '/dev/vdc'], added)
        cinder = read(work / 'cinder.conf')
        self.assertEqual('http://192.0.2.7:7443',
                         cinder['fast']['ashlar_api_urls'])
        self.assertNotIn('ashlar_api_urls', cinder.get('lvm-1', {}))
        for name in ('nova', 'tempest'):
            self.assertEqual({}, read(work / f'{name}.conf'))

    def test_a_cluster_that_exists_is_left_alone(self):
        with tempfile.NamedTemporaryFile('w') as token:
            token.write('secret-of-cinder\n')
            token.flush()
            work, calls = self.phases(
                ASHLAR_API_URLS='https://a:7443,https://b:7443',
                ASHLAR_TOKEN_FILE=token.name)
        section = read(work / 'cinder.conf')['ashlar-1']
        self.assertEqual(
            ('https://a:7443,https://b:7443', 'secret-of-cinder'),
            (section['ashlar_api_urls'], section['ashlar_api_token']))
        for call in calls:
            self.assertFalse(call.startswith(('ashlar ', 'run_process',
                                              'stop_process', 'sudo rm')),
                             call)

    def test_style(self):
        done = subprocess.run(
            [pathlib.Path(sys.executable).with_name('bashate'), '-v', '-iE006',
             '-eE005,E042', *SCRIPTS], cwd=PLUGIN, text=True,
            capture_output=True)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)


if __name__ == '__main__':
    unittest.main()
