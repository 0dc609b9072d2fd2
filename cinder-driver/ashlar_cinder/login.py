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

"""A user of Keystone who calls the Ashlar API, as the backend section says.

The options are keystoneauth's own, those of every section of OpenStack that
logs in: auth_type chooses how, auth_section a section that has the others.
"""

import threading

from keystoneauth1 import exceptions
from keystoneauth1 import loading

from ashlar_brick import errors
from cinder.i18n import _


class KeystoneLogin:
    """What gives client.Client the user's tokens.

    A token is taken again until shortly before its end, or until the API
    refuses it.

    :param plugin: keystoneauth1.plugin.BaseAuthPlugin of the user
    :param session: keystoneauth1.session.Session to ask Keystone with
    """

    def __init__(self, plugin, session):
        self._plugin = plugin
        self._session = session
        self._renewing = threading.Lock()

    def token(self):
        try:
            token = self._plugin.get_token(self._session)
        except exceptions.ClientException as exc:
            raise errors.NoToken(
                _('Keystone gave no token: %s') % exc) from exc
        if not token:
            raise errors.NoToken(_('this auth_type gives no token'))
        return token

    def renew(self, refused):
        """Another token than the one that was refused, or None."""
        with self._renewing:
            # One of many threads logs in, and the others find its token.
            if self.token() == refused and not self._plugin.invalidate():
                return None
            newer = self.token()
        return None if newer == refused else newer


def from_options(conf, section, timeout):
    """The login that a section of the configuration describes.

    :param timeout: seconds to wait for Keystone, unless the section says
    :returns: KeystoneLogin, or None when the section has no auth_type
    :raises keystoneauth1.exceptions.ClientException: it cannot be used
    """
    loading.register_auth_conf_options(conf, section)
    loading.register_session_conf_options(conf, section)
    plugin = loading.load_auth_from_conf_options(conf, section)
    if plugin is None:
        return None
    session = loading.load_session_from_conf_options(
        conf, section, timeout=conf[section].timeout or timeout)
    return KeystoneLogin(plugin, session)


def options():
    """The options of the usual ways to log in, for a sample."""
    given = (loading.get_auth_common_conf_options() +
             loading.get_session_conf_options())
    for auth_type in ('password', 'v3applicationcredential'):
        known = {opt.dest for opt in given}
        given += [opt for opt in
                  loading.get_auth_plugin_conf_options(auth_type)
                  if opt.dest not in known]
    return given
