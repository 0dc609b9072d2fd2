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

"""The driver as a user of Keystone."""

import logging
import tempfile
import threading

from oslo_config import cfg

from ashlar_brick import errors
from ashlar_cinder import login
from ashlar_cinder import options
from ashlar_cinder.tests import base
from ashlar_cinder.tests import keystone_twin
from cinder import exception

SECTION = 'ashlar-1'


class LoginTest(base.TestCase):

    def setUp(self):
        super().setUp()
        # The API takes the token that Keystone gave last.
        self.keystone = keystone_twin.KeystoneTwin(
            issued=lambda token: setattr(self.twin, 'token', token))
        self.keystone.__enter__()
        self.addCleanup(self.keystone.stop)

    def log_in(self, password=keystone_twin.PASSWORD, token='', **changed):
        """A driver whose section says how to log in."""
        lines = dict({
            'auth_type': 'password', 'auth_url': self.keystone.url,
            'username': keystone_twin.USER, 'password': password,
            'user_domain_id': 'default', 'project_name': 'service',
            'project_domain_id': 'default'}, **changed)
        with tempfile.NamedTemporaryFile('w', suffix='.conf') as conf:
            conf.write(f'[{SECTION}]\n' + ''.join(
                f'{name} = {value}\n' for name, value in lines.items()))
            conf.flush()
            cfg.CONF([], project='cinder', default_config_files=[conf.name])
        self.addCleanup(self.forget)
        made = self.make_driver(ashlar_api_token=token)
        made.do_setup(None)
        return made

    def forget(self):
        """Take the options away that only a section with a login has."""
        cfg.CONF.reset()
        cfg.CONF.unregister_opts(login.options(), group=SECTION)

    def test_one_login_serves_until_its_token_is_refused(self):
        driver = self.log_in()
        driver.check_for_setup_error()
        driver.get_volume_stats(True)
        self.assertEqual(1, self.keystone.logins)
        self.twin.token = 'another'  # noqa: S105
        volume = self.make_volume()
        driver.create_volume(volume)
        self.assertEqual([volume.id], list(self.cluster.volumes))
        self.assertEqual(2, self.keystone.logins)

    def test_many_calls_that_are_refused_make_one_login(self):
        driver = self.log_in()
        driver.check_for_setup_error()
        self.twin.token = 'another'  # noqa: S105
        volumes = [self.make_volume() for _ in range(8)]
        threads = [threading.Thread(target=driver.create_volume, args=[one])
                   for one in volumes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({one.id for one in volumes},
                         set(self.cluster.volumes))
        self.assertEqual(2, self.keystone.logins)

    def test_user_whose_every_token_is_refused(self):
        driver = self.log_in()
        self.keystone.issued = lambda token: None
        exc = self.failure(exception.VolumeBackendAPIException,
                           driver.check_for_setup_error)
        self.assertIsInstance(exc.__cause__, errors.Denied)
        self.assertEqual(2, self.keystone.logins)

    def test_wrong_password(self):
        driver = self.log_in(password='wrong')  # noqa: S106
        exc = self.failure(exception.VolumeBackendAPIException,
                           driver.check_for_setup_error)
        self.assertIsInstance(exc.__cause__, errors.NoToken)
        self.assertEqual([], self.cluster.calls)

    def test_neither_nor_both(self):
        for wrong in ({'token': 'x'}, {'auth_type': 'no such'}):
            with self.subTest(wrong):
                self.failure(exception.VolumeDriverException, self.log_in,
                             **wrong)
        neither = self.make_driver(ashlar_api_token=None)
        self.failure(exception.VolumeDriverException, neither.do_setup, None)

    def test_no_log_has_token_or_password(self):
        with self.assertLogs(logging.getLogger(), 'DEBUG') as logs:
            logging.getLogger().debug('at least one')
            driver = self.log_in()
            driver.check_for_setup_error()
            first = self.twin.token
            self.twin.token = 'another'  # noqa: S105
            driver.get_volume_stats(True)
        text = '\n'.join(logs.output)
        for secret in (first, self.twin.token, keystone_twin.PASSWORD):
            self.assertNotIn(secret, text)

    def test_sample_has_how_to_log_in(self):
        ((_section, given),) = options.list_opts()
        names = [opt.name for opt in given]
        self.assertEqual(sorted(set(names)), sorted(names))
        for name in ('auth_type', 'auth-url', 'password',
                     'application_credential_secret', 'cafile',
                     'ashlar_api_token'):
            self.assertIn(name, names)
