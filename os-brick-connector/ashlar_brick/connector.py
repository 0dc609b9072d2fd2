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

"""The os-brick connector of Ashlar: os-brick's NVMe-oF connector, and more.

Hosts need not have it: the Cinder driver gives a host plain ``nvmeof``
connection information unless the host says that it has this connector. What
it does better than os-brick's own:

* every portal is connected whatever ``use_multipath`` says, as long as the
  kernel joins the paths to one device (``nvme_core.multipath=Y``), so that the
  loss of a node is no loss of the volume; a portal of this very host (a
  gateway on the compute host) comes first;
* controllers are found by the address that they are connected to, also where
  the kernel tells the source address too (6.1 and later, which os-brick before
  6.6 does not understand);
* the device is found by the UUID of its namespace at every step, so a device
  name that Nova remembers from before a restart flushes nobody else's volume;
* a detach closes every controller of the volume, also those that are trying to
  reconnect, and the path to its present owner last: nobody else takes the
  volume over on the way, and the owner learns that this host is done with it;
* an extend waits for the size that the device itself reports, whatever its
  block size and however many formats it lists.
"""

import errno
import json
import os
import time

from os_brick import exception
from os_brick import utils
from os_brick.initiator import connector
from os_brick.initiator.connectors import base
from os_brick.initiator.connectors import nvmeof
from oslo_concurrency import processutils
from oslo_log import log as logging

from ashlar_brick import paths

LOG = logging.getLogger(__name__)

# driver_volume_type of connection information for this connector.
PROTOCOL = 'ashlar'
# Key of the connector properties by which a host says that it has it.
PROPERTY = 'ashlar_connector'
VERSION = '1'

# Seconds for a device to appear after its controllers did. A controller that
# lost its node tries again every 10 seconds.
DEVICE_TIMEOUT = 20
# Seconds for the kernel to show a new size, before and after a rescan.
RESIZE_TIMEOUT = 5
POLL_INTERVAL = 0.1


def register():
    """Make os-brick of this process know the connector. Again is fine."""
    name = f'{__name__}.{AshlarConnector.__name__}'
    for mapping in (connector._connector_mapping_linux,
                    connector._connector_mapping_linux_s390x,
                    connector._connector_mapping_linux_ppc64):
        mapping[PROTOCOL.upper()] = name
    if name not in connector.unix_connector_list:
        connector.unix_connector_list.append(name)


class AshlarConnector(nvmeof.NVMeOFConnector):
    """Attaches Ashlar volumes over NVMe/TCP."""

    @classmethod
    def get_connector_properties(cls, root_helper, *args, **kwargs):
        """What this adds to os-brick's own NVMe properties of the host."""
        return {PROPERTY: VERSION}

    def get_volume_paths(self, connection_properties, device_info=None):
        """The device of the volume, as a list of none or one."""
        volume = paths.Volume.parse(connection_properties)
        found = paths.device(volume, paths.controllers(volume))
        return [found] if found else []

    @utils.trace
    @utils.connect_volume_prepare_result
    @base.synchronized('connect_volume', external=True)
    def connect_volume(self, connection_properties):
        """Connect every portal that is not yet. -> {'type', 'path'}

        :raises VolumeDeviceNotFound: no portal could be connected, or the
            device did not appear; what this call connected is closed again
        """
        self._check_multipath(connection_properties)
        volume = paths.Volume.parse(connection_properties)
        before = {one.name for one in paths.controllers(volume)}
        try:
            self._connect_portals(volume)
            found = self._wait_for_device(volume)
        except Exception:
            chain = exception.ExceptionChainer()
            self._disconnect([one for one in paths.controllers(volume)
                              if one.name not in before], volume, chain)
            raise
        return {'type': 'block', 'path': found}

    def _check_multipath(self, connection_properties):
        if self.native_multipath_supported:
            return
        if connection_properties.get('enforce_multipath'):
            raise exception.BrickException(
                'Multipath is enforced, but the kernel of this host does not '
                'join NVMe paths. Set nvme_core.multipath=Y.')
        LOG.warning('This host uses one path to each Ashlar volume and loses '
                    'it with that node. Set nvme_core.multipath=Y.')

    def _connect_portals(self, volume):
        """Connect what is missing: all portals, or one without multipath."""
        present = paths.controllers(volume)
        known = {one.portal for one in present}
        usable = any(one.state in (paths.LIVE, paths.CONNECTING)
                     for one in present)
        failures = []
        for portal in paths.portals(volume):
            if portal in known:
                continue
            if usable and not self.native_multipath_supported:
                break
            try:
                self._connect_portal(volume, portal)
                usable = True
            except processutils.ProcessExecutionError as exc:
                LOG.warning('No path to %(nqn)s at %(portal)s: %(reason)s',
                            {'nqn': volume.nqn, 'portal': ':'.join(portal),
                             'reason': (exc.stderr or exc.stdout or
                                        str(exc)).strip()})
                failures.append(portal)
        if not usable:
            raise exception.VolumeDeviceNotFound(device=volume.nqn)
        if failures:
            LOG.warning('Volume %(uuid)s has %(made)d of %(all)d paths.',
                        {'uuid': volume.uuid, 'all': len(volume.portals),
                         'made': len(volume.portals) - len(failures)})

    def _connect_portal(self, volume, portal):
        # The queue size and the endless loss timeout of os-brick: a host
        # whose paths are all down waits, as the cluster does.
        command = ['connect', '-t', 'tcp', '-n', volume.nqn, '-a', portal[0],
                   '-s', portal[1], '-Q', '128', '-l', '-1']
        if volume.host_nqn:
            command += ['-q', volume.host_nqn]
        try:
            self.run_nvme_cli(command)
        except processutils.ProcessExecutionError as exc:
            # Another process of this host was faster. nvme-cli has had a
            # code of its own for that, errno's, and 1 with words.
            if (exc.exit_code not in (70, errno.EALREADY) and
                    'already connected' not in f'{exc.stdout}{exc.stderr}'):
                raise

    def _wait_for_device(self, volume):
        """The device, once a live path shows it and its node is there."""
        deadline = time.monotonic() + DEVICE_TIMEOUT
        while True:
            live = [one for one in paths.controllers(volume)
                    if one.state == paths.LIVE]
            found = paths.device(volume, live) if live else None
            if found and os.path.exists(found):
                return found
            if time.monotonic() > deadline:
                raise exception.VolumeDeviceNotFound(
                    device=f'{volume.nqn} (namespace {volume.uuid})')
            time.sleep(POLL_INTERVAL)

    @utils.trace
    @base.synchronized('connect_volume', external=True)
    @utils.connect_volume_undo_prepare_result(unlink_after=True)
    def disconnect_volume(self, connection_properties, device_info,
                          force=False, ignore_errors=False):
        """Flush the device and close every controller of the volume.

        :param force: close them even if the flush failed. With no live path
            a flush would wait for one, so then there is none.
        :raises ExceptionChainer: what failed, unless ignore_errors
        """
        volume = paths.Volume.parse(connection_properties)
        present = paths.controllers(volume)
        found = paths.device(volume, present)
        chain = exception.ExceptionChainer()
        if found and os.path.exists(found):
            with chain.context(force, 'Failed to flush %s', found):
                self._flush(volume, found, present)
        self._disconnect(present, volume, chain)
        if chain:
            LOG.warning('There were errors detaching volume %s', volume.uuid)
            if not ignore_errors:
                raise chain

    def _flush(self, volume, found, present):
        if not any(one.state == paths.LIVE for one in present):
            raise exception.BrickException(
                f'No path to volume {volume.uuid} is live: what this host '
                'has not written yet cannot be flushed')
        self._linuxscsi.flush_device_io(found)

    def _disconnect(self, found, volume, chain):
        """Close controllers, the path to the owner last."""
        for one in sorted(found, key=paths.Controller.is_optimized):
            if not one.is_only_for(volume):
                LOG.warning('%s shows more than volume %s; it stays.',
                            one.name, volume.uuid)
                continue
            with chain.context(True, 'Failed to disconnect %s', one.name):
                self.run_nvme_cli(['disconnect', '-d', one.name])

    @utils.trace
    @base.synchronized('extend_volume', external=True)
    @utils.connect_volume_undo_prepare_result
    def extend_volume(self, connection_properties):
        """Wait until the host sees the size that the volume has now.

        The target tells hosts of a new size by itself. When the kernel does
        not show it in time, a rescan asks for it.

        :returns: the size in bytes
        """
        volume = paths.Volume.parse(connection_properties)
        present = paths.controllers(volume)
        found = paths.device(volume, present)
        if not found:
            raise exception.VolumeDeviceNotFound(device=volume.nqn)
        wanted = self._reported_size(found)
        if not self._wait_for_size(found, wanted):
            for one in present:
                if one.state == paths.LIVE:
                    self.rescan(one.name)
            if not self._wait_for_size(found, wanted):
                LOG.warning('%(device)s should have %(wanted)d bytes, the '
                            'kernel shows %(size)s.',
                            {'device': found, 'wanted': wanted,
                             'size': paths.size(found)})
        return paths.size(found)

    def _reported_size(self, found):
        """Bytes that the namespace itself says it has."""
        out, _err = self.run_nvme_cli(['id-ns', '-ojson', found])
        try:
            data = json.loads(out)
            shift = data['lbafs'][data.get('flbas', 0) & 0xf]['ds']
            return data['nsze'] << shift
        except (ValueError, KeyError, IndexError, TypeError) as exc:
            raise exception.BrickException(
                f'nvme id-ns {found} printed no namespace: {exc!r}') from exc

    def _wait_for_size(self, found, wanted):
        deadline = time.monotonic() + RESIZE_TIMEOUT
        while paths.size(found) != wanted:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_INTERVAL)
        return True
