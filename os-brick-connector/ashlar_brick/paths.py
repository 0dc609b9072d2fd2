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

"""What a host sees of one volume: its controllers and its block device.

One subsystem is one volume, so all controllers of its NQN that this host made
are paths to it. Everything is read from sysfs, by the identities that the
target gives (NQN and namespace UUID), never by device names, which another
volume may have after a restart of the host::

    ctl/nvme3/subsysnqn       nqn.2026-11.io.ashlar:...
              transport       tcp
              address         traddr=192.0.2.1,trsvcid=4420[,src_addr=...]
              state           live, connecting, ...
              hostnqn         (not on every kernel)
              nvme3n1/        a namespace, or with native multipath
              nvme2c3n1/      a path of namespace nvme2n1 over this controller
                  uuid        (of a path: on newer kernels only, else look at
                  ana_state    the namespace in /sys/class/block)
"""

import dataclasses
import glob
import ipaddress
import os
import socket
import uuid

from os_brick import exception
from os_brick.initiator.connectors import nvmeof
from oslo_log import log as logging

LOG = logging.getLogger(__name__)

LIVE = 'live'
CONNECTING = 'connecting'
OPTIMIZED = 'optimized'


@dataclasses.dataclass(frozen=True)
class Volume:
    """What the connection properties say about a volume.

    :ivar portals: (address or name, port) of each, in the cluster's order
    """

    nqn: str
    uuid: str
    host_nqn: str
    portals: tuple

    @classmethod
    def parse(cls, properties):
        """From what the Cinder driver returned, maybe through JSON.

        :raises BrickException: something is missing or not for us
        """
        try:
            found = [(address, str(int(port)))
                     for address, port, transport in properties['portals']
                     if transport == 'tcp']
            if not found:
                raise ValueError('no TCP portal')
            return cls(nqn=_text(properties, 'target_nqn'),
                       uuid=str(uuid.UUID(_text(properties, 'vol_uuid'))),
                       host_nqn=properties.get('host_nqn') or '',
                       portals=tuple(found))
        except (KeyError, TypeError, ValueError) as exc:
            raise exception.BrickException(
                f'Connection properties are not those of an Ashlar volume: '
                f'{exc!r}') from exc


@dataclasses.dataclass(frozen=True)
class Namespace:
    """A block device, as one controller shows it."""

    device: str
    uuid: str
    ana_state: str


@dataclasses.dataclass(frozen=True)
class Controller:
    """A connection of this host to a portal of a volume."""

    name: str
    portal: tuple
    state: str
    namespaces: tuple

    def is_only_for(self, volume):
        """Whether nothing but this volume goes over it."""
        # Of one that is going the UUID may be gone already.
        return all(one.uuid in ('', volume.uuid) for one in self.namespaces)

    def is_optimized(self):
        return any(one.ana_state == OPTIMIZED for one in self.namespaces)


def portals(volume):
    """(IP address, port) of the portals of a volume, this host's own first.

    A name that does not resolve is left out: the others may do.
    """
    found = []
    for address, port in volume.portals:
        try:
            found.append((_ip(address), port))
        except ValueError as exc:
            LOG.warning('%s', exc)
    # Stable: within each half the order of the cluster remains.
    return sorted(dict.fromkeys(found),
                  key=lambda portal: not _is_here(portal[0]))


def controllers(volume):
    """The controllers that this host has for a volume, in order of names."""
    found = []
    for path in glob.glob(nvmeof.NVME_CTRL_SYSFS_PATH + 'nvme*'):
        # Gone while we look: every property reads as None.
        host = nvmeof.sysfs_property('hostnqn', path)
        if (nvmeof.sysfs_property('subsysnqn', path) == volume.nqn and
                nvmeof.sysfs_property('transport', path) == 'tcp' and
                (not host or not volume.host_nqn or
                 host == volume.host_nqn)):
            found.append(Controller(
                name=os.path.basename(path), portal=_portal(path),
                state=nvmeof.sysfs_property('state', path) or '',
                namespaces=tuple(map(_namespace,
                                     glob.glob(path + '/nvme*n*')))))
    return sorted(found, key=lambda controller: controller.name)


def device(volume, found):
    """The block device of a volume, or None.

    :param found: its controllers; those that are live are looked at first,
        because without native multipath each has a device of its own
    """
    for controller in sorted(found, key=lambda one: one.state != LIVE):
        for namespace in controller.namespaces:
            if namespace.uuid == volume.uuid:
                return namespace.device
    # udev asks the device itself. Its link stays until the device goes.
    link = f'{nvmeof.DEV_SEARCH_PATH}disk/by-id/nvme-uuid.{volume.uuid}'
    return os.path.realpath(link) if os.path.exists(link) else None


def size(block_device):
    """Bytes of a block device as the kernel has them now, or None."""
    sectors = nvmeof.blk_property('size', os.path.basename(block_device))
    return int(sectors) << 9 if sectors and sectors.isdigit() else None


def _namespace(path):
    name = nvmeof.nvme_basename(path)
    identity = (nvmeof.sysfs_property('uuid', path) or
                nvmeof.blk_property('uuid', name) or '')
    return Namespace(device=nvmeof.DEV_SEARCH_PATH + name,
                     uuid=identity.lower(),
                     ana_state=nvmeof.sysfs_property('ana_state', path) or '')


def _portal(path):
    """(IP address, port) that a controller is connected to."""
    address = nvmeof.sysfs_property('address', path) or ''
    parts = dict(part.partition('=')[::2] for part in address.split(','))
    try:
        ip = str(ipaddress.ip_address(parts.get('traddr', '')))
    except ValueError:
        ip = ''
    return ip, parts.get('trsvcid', '')


def _ip(address):
    """An address in the one form that sysfs and we compare.

    :raises ValueError: neither an IP address nor a name that resolves
    """
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        pass
    try:
        (first, *_others) = socket.getaddrinfo(address, None,
                                               type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise ValueError(f'Portal {address!r}: {exc}') from exc
    return first[4][0]


def _is_here(address):
    """Whether it is an address of this host, so of a gateway on it."""
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _text(properties, name):
    value = properties[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f'{name} is {value!r}')
    return value
