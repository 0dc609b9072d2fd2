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

"""The driver, inside Cinder's own objects, against the twin of the API."""

import json
import subprocess
import sys
import types
from unittest import mock
import uuid

from os_brick.initiator import connector as brick
from os_brick.initiator.connectors import nvmeof
from oslo_config import cfg
from oslo_utils import units

from ashlar_brick import connector
from ashlar_brick import paths
from ashlar_cinder import driver
from ashlar_cinder import options
from ashlar_cinder.tests import base
from cinder import exception
from cinder.scheduler.filters import capacity_filter

HOST_A, HOST_B = base.HOST_A, base.HOST_B


class VolumeTest(base.TestCase):

    def test_create_again_is_the_same_volume(self):
        volume = self.created(size=3)
        self.driver.create_volume(volume)
        (stored,) = self.cluster.volumes.values()
        self.assertEqual(
            (volume.id, volume.name, 'default', 3 * units.Gi),
            (stored['id'], stored['name'], stored['pool'],
             stored['size_bytes']))

    def test_create_in_the_pool_the_scheduler_chose(self):
        self.cluster.pools['fast'] = units.Ti
        self.driver.configuration.ashlar_pools.append('fast')
        for pool, expected in (('fast', 'fast'), (None, 'default')):
            volume = self.created(pool=pool)
            self.assertEqual(
                expected, self.cluster.volumes[volume.id]['pool'])
            self.assertEqual(expected, self.driver.get_pool(volume))

    def test_create_error_names_the_reason(self):
        exc = self.failure(exception.VolumeBackendAPIException,
                                self.driver.create_volume,
                                self.make_volume(size=2 << 20))
        self.assertIn('at most 1 PiB', str(exc))
        self.failure(exception.VolumeBackendAPIException,
                          self.driver.create_volume,
                          self.make_volume(pool='nowhere'))

    def test_migrated_volume_goes_by_its_name_id(self):
        volume = self.created(_name_id=str(uuid.uuid4()))
        self.assertNotEqual(volume.id, volume.name_id)
        self.assertEqual([volume.name_id], list(self.cluster.volumes))

    def test_delete(self):
        volume = self.created()
        self.driver.delete_volume(volume)
        self.assertEqual({}, self.cluster.volumes)
        self.driver.delete_volume(volume)  # missing is fine

    def test_delete_of_a_copy_that_took_the_place_of_a_volume_keeps_it(self):
        # Cinder was killed before it had the two change places.
        copy = self.recorded_volume()
        self.driver.create_volume(copy)
        volume = self.recorded_volume(_name_id=copy.id)
        self.driver.delete_volume(copy)
        self.assertEqual([volume.name_id], list(self.cluster.volumes))
        copy.destroy()
        self.driver.delete_volume(volume)
        self.assertEqual({}, self.cluster.volumes)

    def test_a_download_that_was_cut_off_leaves_no_host(self):
        volume = self.created()
        self.driver.initialize_connection(volume, HOST_A)
        self.driver.clear_download(None, volume)
        self.assertEqual(set(), set(self.hosts(volume)))
        self.driver.delete_volume(volume)
        self.driver.clear_download(None, volume)  # missing is fine

    def test_delete_error_is_an_error(self):
        volume = self.created()
        self.twin.misbehave('unavailable')
        self.failure(exception.VolumeBackendAPIException,
                          self.driver.delete_volume, volume)
        self.assertIn(volume.id, self.cluster.volumes)

    def test_delete_of_a_volume_in_use_keeps_it(self):
        volume = self.created()
        self.driver.initialize_connection(volume, HOST_A)
        self.failure(exception.VolumeIsBusy,
                          self.driver.delete_volume, volume)
        self.assertIn(volume.id, self.cluster.volumes)

    def test_extend(self):
        volume = self.created(size=1)
        self.driver.extend_volume(volume, 5)
        self.driver.extend_volume(volume, 5)
        self.assertEqual(5 * units.Gi,
                         self.cluster.volumes[volume.id]['size_bytes'])
        self.failure(exception.VolumeBackendAPIException,
                          self.driver.extend_volume, volume, 4)
        self.failure(exception.VolumeBackendAPIException,
                          self.driver.extend_volume, self.make_volume(), 2)


class AttachTest(base.TestCase):

    def test_connection_info_is_plain_nvmeof(self):
        volume = self.created()
        info = self.driver.initialize_connection(volume, HOST_A)
        self.assertEqual('nvmeof', info['driver_volume_type'])
        self.assertEqual(
            {'target_nqn': self.cluster.volumes[volume.id]['nqn'],
             'vol_uuid': volume.id,
             'portals': [('192.0.2.1', '4420', 'tcp'),
                         ('192.0.2.2', '4420', 'tcp'),
                         ('192.0.2.3', '4420', 'tcp')],
             'host_nqn': HOST_A['nqn'],
             'discard': True}, info['data'])
        self.assertEqual({HOST_A['nqn']}, self.hosts(volume))
        self.assertEqual(info,
                         self.driver.initialize_connection(volume, HOST_A))

    def test_os_brick_understands_it(self):
        volume = self.created()
        info = self.driver.initialize_connection(volume, HOST_A)
        # As it reaches a compute host: through JSON.
        data = json.loads(json.dumps(info['data']))
        (target,) = nvmeof.NVMeOFConnProps(data).targets
        self.assertEqual(
            (self.cluster.volumes[volume.id]['nqn'], volume.id,
             HOST_A['nqn']), (target.nqn, target.uuid, target.host_nqn))
        self.assertEqual(
            [('192.0.2.1', '4420', 'tcp'), ('192.0.2.2', '4420', 'tcp'),
             ('192.0.2.3', '4420', 'tcp')],
            [(portal.address, portal.port, portal.transport)
             for portal in target.portals])

    def test_lost_answer_to_attach_can_be_asked_again(self):
        volume = self.created()
        self.twin.misbehave('hang up after')
        self.failure(exception.VolumeBackendAPIException,
                          self.driver.initialize_connection, volume, HOST_A)
        self.driver.initialize_connection(volume, HOST_A)
        self.assertEqual({HOST_A['nqn']}, self.hosts(volume))

    def test_attach_of_a_missing_volume(self):
        self.failure(exception.VolumeBackendAPIException,
                          self.driver.initialize_connection,
                          self.make_volume(), HOST_A)

    def test_host_without_nqn_is_refused(self):
        volume = self.created()
        for host in ({'host': 'h'}, {'host': 'h', 'nqn': None},
                     {'host': 'h', 'nqn': ''}, {'nqn': 'iqn.1993-08.x'}):
            exc = self.failure(exception.InvalidConnectorException,
                                    self.driver.validate_connector, host)
            self.assertIn('nvme-cli', str(exc))
            self.failure(exception.InvalidConnectorException,
                              self.driver.initialize_connection, volume,
                              host)
        self.assertEqual(set(), self.hosts(volume))
        self.driver.validate_connector(HOST_A)

    def test_detach(self):
        volume = self.created(connectors=[HOST_A, HOST_B])
        self.driver.initialize_connection(volume, HOST_A)
        self.driver.initialize_connection(volume, HOST_B)
        self.assertFalse(self.driver.terminate_connection(volume, HOST_A))
        self.assertEqual({HOST_B['nqn']}, self.hosts(volume))
        self.assertFalse(self.driver.terminate_connection(volume, HOST_A))

    def test_force_detach_takes_it_from_all_hosts(self):
        volume = self.created(connectors=[HOST_A, HOST_B])
        self.driver.initialize_connection(volume, HOST_A)
        self.driver.initialize_connection(volume, HOST_B)
        self.assertFalse(
            self.driver.terminate_connection(volume, None, force=True))
        self.assertEqual(set(), self.hosts(volume))

    def test_detach_of_a_missing_volume(self):
        volume = self.make_volume()
        self.assertFalse(self.driver.terminate_connection(volume, HOST_A))
        self.assertFalse(self.driver.terminate_connection(volume, None))

    def test_detach_of_a_host_that_never_had_an_nqn(self):
        volume = self.created()
        self.driver.initialize_connection(volume, HOST_A)
        self.assertFalse(self.driver.terminate_connection(volume,
                                                          {'host': 'h'}))
        self.assertEqual({HOST_A['nqn']}, self.hosts(volume))

    def test_host_keeps_access_until_its_last_attachment_goes(self):
        first = dict(HOST_A, mountpoint='/dev/vdb')
        second = dict(HOST_A, mountpoint='/dev/vdc')
        volume = self.created(connectors=[first, second])
        self.driver.initialize_connection(volume, first)
        self.assertTrue(self.driver.terminate_connection(volume, first))
        self.assertEqual({HOST_A['nqn']}, self.hosts(volume))
        del volume.volume_attachment.objects[0]
        self.assertFalse(self.driver.terminate_connection(volume, second))
        self.assertEqual(set(), self.hosts(volume))

    def test_image_transfer_does_not_cut_off_a_guest_on_its_host(self):
        guest = dict(HOST_A, mountpoint='/dev/vdb')
        volume = self.created(connectors=[None, guest])
        self.driver.initialize_connection(volume, guest)
        self.driver.initialize_connection(volume, HOST_A)
        self.assertTrue(self.driver.terminate_connection(volume, HOST_A))
        self.assertEqual({HOST_A['nqn']}, self.hosts(volume))

    def test_exports_are_left_alone(self):
        volume = self.created()
        self.driver.initialize_connection(volume, HOST_A)
        self.driver.create_export(None, volume, HOST_A)
        self.driver.ensure_export(None, volume)
        self.driver.remove_export(None, volume)
        self.assertEqual({HOST_A['nqn']}, self.hosts(volume))


class ConnectorTest(base.TestCase):

    def test_host_with_our_connector_uses_it(self):
        volume = self.created()
        host = dict(HOST_A, ashlar_connector='1')
        plain = self.driver.initialize_connection(volume, HOST_B)
        ours = self.driver.initialize_connection(volume, host)
        self.assertEqual('ashlar', ours['driver_volume_type'])
        self.assertEqual(dict(plain['data'], host_nqn=HOST_A['nqn']),
                         ours['data'])
        parsed = paths.Volume.parse(json.loads(json.dumps(ours['data'])))
        self.assertEqual((volume.id, 3), (parsed.uuid, len(parsed.portals)))
        self.driver = self.make_driver(ashlar_use_connector=False)
        self.driver.do_setup(None)
        self.assertEqual('nvmeof', self.driver.initialize_connection(
            volume, host)['driver_volume_type'])

    def test_cinder_volume_has_it(self):
        made = brick.InitiatorConnector.factory('ashlar', 'sudo')
        self.assertIsInstance(made, connector.AshlarConnector)


class MoveTest(base.TestCase):

    def place(self, pool='default', cluster=None):
        """A back end of Cinder, as the scheduler describes it."""
        return {'host': f'other@ashlar-9#{pool}', 'capabilities': {
            'location_info': f'AshlarDriver:{cluster or self.cluster.id}',
            'pool_name': pool}}

    def test_another_service_of_the_same_pool(self):
        volume = self.created()
        for place, moved in ((self.place(), True),
                             (self.place('fast'), False),
                             (self.place(cluster='x'), False),
                             ({'host': 'h@lvm#lvm', 'capabilities': {}},
                              False)):
            self.assertEqual((moved, None), self.driver.migrate_volume(
                None, volume, place))

    def test_copied_volume_goes_by_the_id_of_its_copy(self):
        volume, copy = self.created(), self.created()
        volume.update(self.driver.update_migrated_volume(
            None, volume, copy, 'available'))
        self.driver.delete_volume(volume)
        self.assertEqual([volume.id], list(self.cluster.volumes))


class StatsTest(base.TestCase):

    def test_stats(self):
        self.cluster.pools['fast'] = 10 * units.Gi
        self.driver = self.make_driver(ashlar_pools=['default', 'fast'],
                                       reserved_percentage=7,
                                       max_over_subscription_ratio='3.5')
        self.driver.do_setup(None)
        self.created(size=4, pool='fast')
        stats = self.driver.get_volume_stats(refresh=True)
        self.assertEqual(('ashlar-1', 'NVMe-TCP', False),
                         (stats['volume_backend_name'],
                          stats['storage_protocol'],
                          stats['shared_targets']))
        default, fast = stats['pools']
        self.assertEqual(('default', 100.0, 83.0, 0.0, 0),
                         (default['pool_name'], default['total_capacity_gb'],
                          default['free_capacity_gb'],
                          default['provisioned_capacity_gb'],
                          default['total_volumes']))
        self.assertEqual(('fast', 10.0, 4.0, 1, 7, 3.5),
                         (fast['pool_name'], fast['total_capacity_gb'],
                          fast['provisioned_capacity_gb'],
                          fast['total_volumes'], fast['reserved_percentage'],
                          fast['max_over_subscription_ratio']))
        self.assertEqual(f'AshlarDriver:{self.cluster.id}',
                         fast['location_info'])
        self.assertEqual((True, False, True, True, True),
                         (fast['thin_provisioning_support'],
                          fast['thick_provisioning_support'],
                          fast['online_extend_support'],
                          fast['multiattach'], fast['QoS_support']))
        self.assertEqual(('replica', 1, 1, 'node', 'none', 'none'),
                         (fast['ashlar_code'], fast['ashlar_data'],
                          fast['ashlar_parity'], fast['ashlar_domain'],
                          fast['ashlar_encryption'],
                          fast['ashlar_compression']))

    def test_full_pool_takes_no_volumes(self):
        for used, reserved, thin in ((88, 0, True), (89.5, 0, False),
                                     (100, 0, False), (80, 9, True),
                                     (80, 10, False)):
            self.cluster.used['default'] = int(used * units.Gi)
            self.driver = self.make_driver(reserved_percentage=reserved)
            self.driver.do_setup(None)
            pool = self.driver.get_volume_stats(refresh=True)['pools'][0]
            with self.subTest(used=used, reserved=reserved):
                self.assertEqual(thin, pool['thin_provisioning_support'])
                self.assertEqual(max(90 - used - reserved, 0),
                                 pool['free_capacity_gb'])
                self.assertEqual(thin, self._passes(pool))

    def _passes(self, pool):
        """Whether Cinder's own filter lets a volume of 1 GiB pass."""
        state = types.SimpleNamespace(backend_id='vm@ashlar-1',
                                      cluster_name=None, **pool)
        return capacity_filter.CapacityFilter().backend_passes(
            state, {'size': 1})

    def test_no_made_up_figures_when_the_api_is_away(self):
        self.twin.stop()
        self.failure(exception.VolumeBackendAPIException,
                          self.driver.get_volume_stats, refresh=True)


class SetupTest(base.TestCase):

    def test_good_configuration(self):
        self.driver.check_for_setup_error()

    def test_bad_configuration(self):
        for overrides in ({'ashlar_api_urls': []},
                          {'ashlar_api_token': None},
                          {'ashlar_api_token': 'two words'}):
            exc = self.failure(exception.VolumeDriverException,
                                    self.make_driver(**overrides).do_setup,
                                    None)
            self.assertNotIn('two words', str(exc))
        self.failure(exception.InvalidConfigurationValue,
                          self.make_driver(ashlar_pools=[]).do_setup, None)

    def test_wrong_token_or_pool(self):
        for overrides in ({'ashlar_api_token': 'wrong'},
                          {'ashlar_pools': ['nowhere']}):
            made = self.make_driver(**overrides)
            made.do_setup(None)
            self.failure(exception.VolumeBackendAPIException,
                              made.check_for_setup_error)

    def test_token_is_secret(self):
        log = mock.Mock()
        cfg.CONF.log_opt_values(log, 10)
        logged = ' '.join(str(call) for call in log.log.call_args_list)
        self.assertIn('ashlar_api_token', logged)
        self.assertNotIn(self.twin.token, logged)

    def test_options_are_listed(self):
        names = {opt.name for opt in driver.AshlarDriver.get_driver_options()}
        self.assertLessEqual({opt.name for opt in options.OPTS}, names)
        self.assertIn('reserved_percentage', names)
        (group, opts), = options.list_opts()
        self.assertEqual('backend_defaults', group)
        self.assertEqual(options.OPTS, opts[:len(options.OPTS)])

    def test_driver_does_not_import_eventlet(self):
        """Cinder itself may; what we add must not."""
        code = ('import sys, ashlar_brick.client;'
                'sys.exit("eventlet" in sys.modules)')
        subprocess.run([sys.executable, '-c', code], check=True)
