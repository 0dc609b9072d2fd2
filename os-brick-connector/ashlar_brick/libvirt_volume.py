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

"""What nova-compute's libvirt driver does with volumes of the type ashlar."""

from nova import utils
import nova.conf
from nova.virt.libvirt import driver
from nova.virt.libvirt.volume import nvme
from os_brick.initiator import connector as brick

from ashlar_brick import connector

CONF = nova.conf.CONF


def register():
    """Make Nova and os-brick of this process know the connector."""
    connector.register()
    driver.VOLUME_DRIVERS[connector.PROTOCOL] = (
        f'{__name__}.{AshlarVolumeDriver.__name__}')


class AshlarVolumeDriver(nvme.LibvirtNVMEVolumeDriver):
    """Nova's own for NVMe-oF, with the other connector."""

    def __init__(self, host):
        super().__init__(host)
        self.connector = brick.InitiatorConnector.factory(
            connector.PROTOCOL, utils.get_root_helper(),
            use_multipath=CONF.libvirt.volume_use_multipath)
