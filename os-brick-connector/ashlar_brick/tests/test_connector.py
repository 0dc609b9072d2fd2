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

"""The connector inside the real os-brick, on a host made of files.

Debian's os-brick here; with a newer one in a virtual environment, the same
(README.md says how).
"""

import json
import os
import tempfile
import unittest
from unittest import mock
import uuid

import os_brick
from os_brick import exception
from os_brick.initiator import connector as brick
from os_brick.initiator.connectors import nvmeof
from os_brick.privileged import rootwrap
from oslo_concurrency import lockutils
from oslo_concurrency import processutils
from oslo_config import cfg

from ashlar_brick import connector
from ashlar_brick import paths
from ashlar_brick.tests import fake_host

GiB = 1 << 30
HOST_NQN = 'nqn.2014-08.org.nvmexpress:uuid:6c4b2f9e-0000-4000-8000-00000000aa'
PORTALS = ('198.51.100.1', '198.51.100.2', '198.51.100.3')


def execute(*command, **options):
    """os-brick's own, without the daemon that makes it root."""
    options.pop('run_as_root', None)
    options.pop('root_helper', None)
    return rootwrap.custom_execute(*command, **options)


class ConnectorTestCase(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        cfg.CONF([], project='brick', default_config_files=[])
        lockutils.set_defaults(self.root + '/lock')
        if hasattr(os_brick, 'setup'):
            os_brick.setup(cfg.CONF)
        self.boot()

    def boot(self, **kernel):
        """A new host in a directory of its own."""
        root = f'{self.root}/{uuid.uuid4().hex}'
        os.mkdir(root)
        self.host = fake_host.Host(root, **kernel)
        self.volume = str(uuid.uuid4())
        self.nqn = f'nqn.2026-11.io.ashlar:1:vol:{self.volume}'
        self.host.set(nqn=self.nqn, uuid=self.volume, size=GiB,
                      optimized='198.51.100.1')
        environment = {'FAKE_HOST': root,
                       'PATH': f'{root}/bin:{os.environ["PATH"]}'}
        patches = [mock.patch.dict(os.environ, environment)] + [
            mock.patch.object(nvmeof, name, f'{root}/{path}/')
            for name, path in (('NVME_CTRL_SYSFS_PATH', 'nvme'),
                               ('BLK_SYSFS_PATH', 'block'),
                               ('DEV_SEARCH_PATH', 'dev'))]
        patches += [
            # Of the class itself: os-brick notes what a kernel can on the
            # class that it asks, whichever test did that before.
            mock.patch.object(connector.AshlarConnector,
                              'native_multipath_supported',
                              self.host.target['multipath']),
            mock.patch.object(connector, 'DEVICE_TIMEOUT', 0.3),
            mock.patch.object(connector, 'RESIZE_TIMEOUT', 0.3)]
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)
        self.made = connector.AshlarConnector('sudo', execute=execute)

    def properties(self, portals=PORTALS, **more):
        """What the Cinder driver returns, as it reaches a host."""
        return json.loads(json.dumps({
            'target_nqn': self.nqn, 'vol_uuid': self.volume,
            'host_nqn': HOST_NQN, 'discard': True, 'access_mode': 'rw',
            'portals': [(address, '4420', 'tcp') for address in portals],
            **more}))

    def connected(self):
        """Addresses that were connected, in order."""
        return [dict(zip(*[iter(call)] * 2, strict=True))['-a']
                for call in self.host.calls('nvme', 'connect')]

    def device(self, name='nvme7n1'):
        return f'{nvmeof.DEV_SEARCH_PATH}{name}'


class ConnectTest(ConnectorTestCase):

    def test_all_portals_on_every_kernel(self):
        """Whatever use_multipath says, and with src_addr in sysfs."""
        for src_addr in (False, True):
            for use_multipath in (False, True):
                with self.subTest(src_addr=src_addr, multipath=use_multipath):
                    self.boot(src_addr=src_addr)
                    made = connector.AshlarConnector(
                        'sudo', execute=execute, use_multipath=use_multipath)
                    self.assertEqual(
                        {'type': 'block', 'path': self.device()},
                        made.connect_volume(self.properties()))
                    self.assertEqual(list(PORTALS), self.connected())

    def test_the_command(self):
        self.made.connect_volume(self.properties(PORTALS[:1]))
        self.assertEqual(
            [['-t', 'tcp', '-n', self.nqn, '-a', '198.51.100.1', '-s', '4420',
              '-Q', '128', '-l', '-1', '-q', HOST_NQN]],
            self.host.calls('nvme', 'connect'))

    def test_again_connects_only_what_is_missing(self):
        self.host.set(dead=['198.51.100.2'])
        self.made.connect_volume(self.properties())
        self.host.set(dead=[])
        found = self.made.connect_volume(self.properties())
        self.assertEqual(self.device(), found['path'])
        self.assertEqual([*PORTALS, '198.51.100.2'], self.connected())
        self.made.connect_volume(self.properties())
        self.assertEqual(4, len(self.connected()))

    def test_gateway_on_this_host_comes_first(self):
        self.made.connect_volume(self.properties(
            ('198.51.100.1', '127.0.0.1', '198.51.100.2')))
        self.assertEqual(['127.0.0.1', '198.51.100.1', '198.51.100.2'],
                         self.connected())

    def test_a_name_that_does_not_resolve_is_left_out(self):
        self.made.connect_volume(self.properties(
            ('', 'x' * 70, '198.51.100.1', 'localhost')))
        self.assertEqual(['198.51.100.1'], self.connected()[-1:])
        self.assertIn(self.connected()[0], ('127.0.0.1', '::1'))

    def test_ipv6(self):
        self.made.connect_volume(self.properties(('2001:DB8:0:0::1',)))
        self.made.connect_volume(self.properties(('2001:db8::1',)))
        self.assertEqual(['2001:db8::1'], self.connected())

    def test_one_path_where_the_kernel_does_not_join_them(self):
        self.boot(multipath=False)
        self.host.set(dead=['198.51.100.1'])
        found = self.made.connect_volume(self.properties())
        self.assertEqual(self.device('nvme3n1'), found['path'])
        self.assertEqual(list(PORTALS[:2]), self.connected())
        self.assertEqual(found, self.made.connect_volume(self.properties()))
        self.assertEqual(2, len(self.connected()))
        with self.assertRaises(exception.BrickException):
            self.made.connect_volume(
                self.properties(enforce_multipath=True))

    def test_another_process_was_faster(self):
        self.host.set(already=['198.51.100.1'])
        self.assertEqual(
            self.device(),
            self.made.connect_volume(self.properties(PORTALS[:1]))['path'])

    def test_nobody_answers(self):
        self.host.set(dead=list(PORTALS))
        with self.assertRaises(exception.VolumeDeviceNotFound):
            self.made.connect_volume(self.properties())
        self.assertEqual(list(PORTALS), self.connected())

    def test_no_device_leaves_nothing_new_behind(self):
        self.host.add('nvme0', 'nvme0n1', 'nqn.2020-01.local:disk',
                      str(uuid.uuid4()))
        self.host.set(shows=False)
        with self.assertRaises(exception.VolumeDeviceNotFound):
            self.made.connect_volume(self.properties())
        self.assertEqual(['nvme0'], self.host.controllers())

    def test_device_of_another_volume_is_not_taken(self):
        self.host.set(uuid=str(uuid.uuid4()))
        with self.assertRaises(exception.VolumeDeviceNotFound):
            self.made.connect_volume(self.properties())

    def test_properties_of_something_else(self):
        for change in ({'portals': []}, {'vol_uuid': 'x'}, {'vol_uuid': None},
                       {'target_nqn': ''}, {'portals': [('a', 'b')]},
                       {'portals': [('198.51.100.1', '4420', 'rdma')]}):
            with self.subTest(change):
                with self.assertRaises(exception.BrickException):
                    self.made.connect_volume(self.properties(**change)
                                             | change)
        self.assertEqual([], self.host.calls())


class DisconnectTest(ConnectorTestCase):

    def attach(self, **more):
        properties = self.properties(**more)
        return properties, self.made.connect_volume(properties)

    def closed(self):
        return [name for _flag, name in
                self.host.calls('nvme', 'disconnect')]

    def test_flush_then_the_path_to_the_owner_last(self):
        self.host.set(optimized='198.51.100.2')
        properties, info = self.attach()
        self.made.disconnect_volume(properties, info)
        self.assertEqual([['--flushbufs', self.device()]],
                         self.host.calls('blockdev'))
        self.assertEqual(['nvme3', 'nvme5', 'nvme4'], self.closed())
        self.assertEqual([], self.host.controllers())
        self.made.disconnect_volume(properties, info)  # again is fine

    def test_old_device_name_flushes_nobody_else(self):
        properties, _info = self.attach()
        self.host.add('nvme0', 'nvme0n1', 'nqn.2020-01.local:disk',
                      str(uuid.uuid4()))
        self.made.disconnect_volume(
            dict(properties, device_path=self.device('nvme0n1')),
            {'type': 'block', 'path': self.device('nvme0n1')})
        self.assertEqual([['--flushbufs', self.device()]],
                         self.host.calls('blockdev'))
        self.assertEqual(['nvme0'], self.host.controllers())

    def test_paths_that_reconnect_are_closed_too(self):
        properties, info = self.attach()
        self.host.lose('198.51.100.2')
        self.made.disconnect_volume(properties, info)
        self.assertEqual([], self.host.controllers())

    def test_without_a_device_the_controllers_go_anyway(self):
        self.made.connect_volume(self.properties())
        for path in (self.host.root / 'nvme').glob('*/nvme*'):
            for one in path.iterdir():
                one.unlink()
            path.rmdir()
        self.made.disconnect_volume(self.properties(), None)
        self.assertEqual([], self.host.calls('blockdev'))
        self.assertEqual([], self.host.controllers())

    def test_no_live_path(self):
        properties, info = self.attach()
        for address in PORTALS:
            self.host.lose(address)
        with self.assertRaises(exception.BrickException) as caught:
            self.made.disconnect_volume(properties, info)
        self.assertIn('cannot be flushed', str(caught.exception))
        self.assertEqual(3, len(self.host.controllers()))
        self.made.disconnect_volume(properties, info, force=True,
                                    ignore_errors=True)
        self.assertEqual([], self.host.calls('blockdev'))
        self.assertEqual([], self.host.controllers())

    def test_failed_flush_keeps_the_volume_unless_forced(self):
        properties, info = self.attach()
        self.made.set_execute(self.failing_flush)
        self.made._linuxscsi.set_execute(self.failing_flush)
        with self.assertRaises((exception.BrickException,
                                processutils.ProcessExecutionError)):
            self.made.disconnect_volume(properties, info)
        self.assertEqual(3, len(self.host.controllers()))
        with self.assertRaises(exception.ExceptionChainer):
            self.made.disconnect_volume(properties, info, force=True)
        self.assertEqual([], self.host.controllers())

    def failing_flush(self, *command, **options):
        self.host.set(flush=1)
        # os-brick would try for a minute.
        for name in ('attempts', 'interval', 'timeout'):
            options.pop(name, None)
        return execute(*command, **options)

    def test_controller_that_shows_another_volume_stays(self):
        properties, info = self.attach(portals=PORTALS[:1])
        other = self.host.root / 'nvme' / 'nvme3' / 'nvme3n2'
        other.mkdir()
        (other / 'uuid').write_text(str(uuid.uuid4()))
        self.made.disconnect_volume(properties, info)
        self.assertEqual(['nvme3'], self.host.controllers())

    def test_another_volume_stays(self):
        properties, info = self.attach()
        first, self.nqn = self.nqn, self.nqn + '-other'
        self.made.disconnect_volume(self.properties(), None)
        self.assertEqual(3, len(self.host.controllers()))
        self.nqn = first
        self.made.disconnect_volume(properties, info)
        self.assertEqual([], self.host.controllers())


class ExtendTest(ConnectorTestCase):

    def grow(self, size, **reported):
        shift = reported.pop('shift', 9)
        self.host.set(reported={'nsze': size >> shift, 'flbas': 0,
                                'lbafs': [{'ms': 0, 'ds': shift, 'rp': 0}],
                                **reported})

    def show(self, size):
        (self.host.root / 'block' / 'nvme7n1' / 'size').write_text(
            str(size >> 9))

    def setUp(self):
        super().setUp()
        self.made.connect_volume(self.properties())

    def test_size_that_the_kernel_shows_already(self):
        for more in ({}, {'shift': 12},
                     {'flbas': 1, 'lbafs': [{'ds': 12}, {'ds': 9}]}):
            with self.subTest(more):
                self.grow(2 * GiB, **more)
                self.show(2 * GiB)
                self.assertEqual(
                    2 * GiB, self.made.extend_volume(self.properties()))
        self.assertEqual([], self.host.calls('nvme', 'ns-rescan'))

    def test_rescan_when_it_does_not(self):
        self.grow(2 * GiB)
        self.host.set(on_rescan=2 * GiB)
        self.assertEqual(2 * GiB, self.made.extend_volume(self.properties()))
        self.assertEqual(3, len(self.host.calls('nvme', 'ns-rescan')))

    def test_size_that_never_shows_is_not_made_up(self):
        self.grow(2 * GiB)
        self.assertEqual(GiB, self.made.extend_volume(self.properties()))

    def test_odd_answer_or_no_device(self):
        self.host.set(reported={'lbafs': []})
        with self.assertRaises(exception.BrickException):
            self.made.extend_volume(self.properties())
        self.volume = str(uuid.uuid4())
        with self.assertRaises(exception.VolumeDeviceNotFound):
            self.made.extend_volume(self.properties())


class LookupTest(ConnectorTestCase):

    def test_udev_link_is_the_second_way(self):
        volume = paths.Volume.parse(self.properties())
        self.assertIsNone(paths.device(volume, []))
        by_id = self.host.root / 'dev' / 'disk' / 'by-id'
        by_id.mkdir(parents=True)
        (self.host.root / 'dev' / 'nvme4n2').touch()
        (by_id / f'nvme-uuid.{self.volume}').symlink_to('../../nvme4n2')
        self.assertEqual(self.device('nvme4n2'), paths.device(volume, []))

    def test_volume_paths(self):
        self.assertEqual([], self.made.get_volume_paths(self.properties()))
        self.made.connect_volume(self.properties())
        self.assertEqual([self.device()],
                         self.made.get_volume_paths(self.properties()))


class RegisterTest(ConnectorTestCase):

    def test_os_brick_makes_it_once_it_is_registered(self):
        for mapping in (brick._connector_mapping_linux,
                        brick._connector_mapping_linux_s390x,
                        brick._connector_mapping_linux_ppc64):
            patch = mock.patch.dict(mapping)
            patch.start()
            self.addCleanup(patch.stop)
        with mock.patch.object(brick, 'unix_connector_list',
                               list(brick.unix_connector_list)):
            brick._connector_mapping_linux.pop('ASHLAR', None)
            with self.assertRaises(exception.InvalidConnectorProtocol):
                brick.InitiatorConnector.factory('ashlar', 'sudo')
            connector.register()
            connector.register()
            made = brick.InitiatorConnector.factory('ashlar', 'sudo')
            self.assertIsInstance(made, connector.AshlarConnector)
            name = 'ashlar_brick.connector.AshlarConnector'
            self.assertEqual(1, brick.unix_connector_list.count(name))
            with mock.patch.object(brick, 'unix_connector_list', [name]):
                properties = brick.get_connector_properties(
                    'sudo', '192.0.2.10', False, False, execute=execute)
            self.assertEqual('1', properties['ashlar_connector'])

    @unittest.skipIf(not hasattr(nvmeof.Portal, 'reconnect_delay'),
                     'os-brick before 6.6 cannot match src_addr')
    def test_the_stock_connector_attaches_as_well(self):
        stock = nvmeof.NVMeOFConnector('sudo', execute=execute,
                                       use_multipath=True)
        self.assertEqual(self.device(), stock.connect_volume(
            self.properties())['path'])


if __name__ == '__main__':
    unittest.main()
