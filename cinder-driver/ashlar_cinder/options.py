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

"""The options of a backend section that uses the Ashlar driver."""

from oslo_config import cfg
from oslo_config import types

from ashlar_cinder import login
from cinder.volume import configuration

OPTS = [
    cfg.ListOpt('ashlar_api_urls',
                default=[],
                item_type=types.URI(schemes=['http', 'https']),
                help='Addresses of the Ashlar API, separated by commas, such '
                     'as https://node1:7443,https://node2:7443. Any node '
                     'answers any call; when one cannot be reached the next '
                     'one is asked. Certificates are always verified, '
                     'against driver_ssl_cert_path if it is set, else '
                     'against the authorities that the system trusts; '
                     'driver_ssl_cert_verify has no say.'),
    cfg.StrOpt('ashlar_api_token',
               secret=True,
               help='Bearer token for the Ashlar API (ashlar token create). '
                    'Without one, and with auth_type in the section, the '
                    'driver logs in with Keystone as the section says: '
                    'auth_url, username, password and so on.'),
    cfg.ListOpt('ashlar_pools',
                default=['default'],
                help='Ashlar pools that this backend offers, each as a pool '
                     'of its own to the scheduler.'),
    cfg.BoolOpt('ashlar_use_connector',
                default=True,
                help='Let hosts that have the os-brick connector of Ashlar '
                     'attach with it (cinder-volume itself always has it). '
                     'All others, and with False all hosts, attach with '
                     'os-brick\'s own nvmeof connector.'),
    cfg.BoolOpt('ashlar_flatten_clones',
                default=False,
                help='Make volumes from snapshots and from volumes '
                     'independent of what they began as: after they were '
                     'created, and while they are used, the cluster copies '
                     'in the background what they share. That takes the '
                     'space of a copy. Without it they share for as long as '
                     'they live, which is what most clouds want.'),
    cfg.FloatOpt('ashlar_api_connect_timeout',
                 default=5,
                 min=0.1,
                 help='Seconds to wait for a connection to one address of '
                      'the API before the next one is tried.'),
    cfg.FloatOpt('ashlar_api_timeout',
                 default=30,
                 min=0.1,
                 help='Seconds to wait for the answer to one call of the '
                      'API. A call that got none is not repeated.'),
]


def list_opts():
    """For oslo-config-generator (entry point oslo.config.opts)."""
    return [(configuration.SHARED_CONF_GROUP, OPTS + login.options())]
