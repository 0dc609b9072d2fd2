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

"""Lets nova-compute attach with the connector of Ashlar, if told to.

In nova.conf of a compute host that has this package::

    [os_vif_ashlar]
    use_connector = True

Nova has no door for drivers of volumes. What it does load when it starts, by
entry points of packages, are plugins of os-vif for network interfaces: this is
one that plugs none. Other services load such plugins, too; nothing happens
there, and nothing of Nova is imported.
"""

from os_vif import objects
from os_vif import plugin
from oslo_config import cfg


class Plugin(plugin.PluginBase):
    """An os-vif plugin without network interfaces."""

    CONFIG_OPTS = (
        cfg.BoolOpt('use_connector',
                    default=False,
                    help='Attach Ashlar volumes with the os-brick connector '
                         'of Ashlar. While servers use volumes that were '
                         'attached so, it has to stay on.'),
    )

    def __init__(self, config):
        super().__init__(config)
        if config.use_connector:
            from ashlar_brick import libvirt_volume
            libvirt_volume.register()

    def describe(self):
        return objects.host_info.HostPluginInfo(plugin_name='ashlar',
                                                vif_info=[])

    def plug(self, vif, instance_info):
        """Never called: no interface is of this plugin."""

    def unplug(self, vif, instance_info):
        """Never called: no interface is of this plugin."""
