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
import unittest
from unittest import mock
import uuid

from os_brick.initiator import connector as brick
from os_brick.initiator.connectors import nvmeof
from oslo_config import cfg
from oslo_utils import units

from ashlar_brick import connector
from ashlar_brick import paths
from ashlar_brick.tests import api_twin
from ashlar_cinder import driver
from ashlar_cinder import options
from cinder import context
from cinder import exception
from cinder import objects
from cinder.volume import configuration

NQN = 'nqn.2014-08.org.nvmexpress:uuid:6c4b2f9e-0000-4000-8000-00000000000'
HOST_A = {'nqn': NQN + 'a', 'host': 'compute-a', 'ip': '192.0.2.10'}
HOST_B = {'nqn': NQN + 'b', 'host': 'compute-b', 'ip': '192.0.2.11'}


class DriverTestCase(unittest.TestCase):
    """A driver that is set up on a twin of the API.

    Not one of Cinder's own test cases: importing those patches the whole
    process for eventlet, under which the twin's server cannot run. (The twin
    is imported before Cinder for the same reason: eventlet swaps http.server.)
    """

    def setUp(self):
        objects.register_all()
        # Forget what test runs before set, and read no file of this machine.
        cfg.CONF.reset()
        cfg.CONF([], project='cinder', default_config_files=[])
        self.twin = api_twin.ApiTwin().__enter__()
        self.addCleanup(self.twin.stop)
        self.cluster = self.twin.cluster
        self.driver = self.make_driver()
        self.driver.do_setup(None)

    def tearDown(self):
        self.assertEqual([], self.twin.violations)

    def make_driver(self, **overrides):
        conf = configuration.Configuration(options.OPTS,
                                           config_group='ashlar-1')
        values = {'ashlar_api_urls': [self.twin.url],
                  'ashlar_api_token': self.twin.token,
                  'volume_backend_name': 'ashlar-1'}
        values.update(overrides)
        made = driver.AshlarDriver(configuration=conf)
        for name, value in values.items():
            cfg.CONF.set_override(name, value, group='ashlar-1')
        self.addCleanup(cfg.CONF.clear)
        return made

    def make_volume(self, size=1, pool='default', connectors=(), **updates):
        """A Cinder volume, on record as attached with the connectors."""
        volume_id = str(uuid.uuid4())
        attachments = [objects.VolumeAttachment(
            id=str(uuid.uuid4()), volume_id=volume_id, connector=connector)
            for connector in connectors]
        updates.setdefault('_name_id', None)
        return objects.Volume(
            context.get_admin_context(), id=volume_id, size=size,
            host=f'vm@ashlar-1#{pool}' if pool else 'vm@ashlar-1',
            volume_attachment=objects.VolumeAttachmentList(
                objects=attachments), **updates)

    def created(self, **kwargs):
        volume = self.make_volume(**kwargs)
        self.driver.create_volume(volume)
        return volume

    def failure(self, kind, call, *args, **kwargs):
        """The exception of that kind that the call raises."""
        with self.assertRaises(kind) as caught:
            call(*args, **kwargs)
        return caught.exception

    def hosts(self, volume):
        return self.cluster.hosts[volume.name_id]


class VolumeTest(DriverTestCase):

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

    def test_what_is_not_there_yet_says_so(self):
        for call, count in ((self.driver.create_snapshot, 1),
                            (self.driver.create_volume_from_snapshot, 2),
                            (self.driver.create_cloned_volume, 2)):
            exc = self.failure(NotImplementedError, call, *[None] * count)
            self.assertIn('does not support', str(exc))
        self.driver.delete_snapshot(None)


class AttachTest(DriverTestCase):

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


class ConnectorTest(DriverTestCase):

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


class ManageTest(DriverTestCase):
    """Volumes that were there before Cinder, with Cinder's tables."""

    def setUp(self):
        super().setUp()
        cfg.CONF.set_override('connection', 'sqlite://', group='database')
        self.addCleanup(cinder_tables())
        self.existing = str(uuid.uuid4())
        self.api.create_volume(self.existing, name='old-data',
                               pool='default', size_bytes=units.Gi // 2)

    @property
    def api(self):
        return self.driver._api

    def test_by_id_and_by_name(self):
        for ref in ({'source-id': self.existing},
                    {'source-name': 'old-data'}):
            volume = self.make_volume()
            self.assertEqual(
                1, self.driver.manage_existing_get_size(volume, ref))
            self.assertEqual({'_name_id': self.existing},
                             self.driver.manage_existing(volume, ref))
        self.assertEqual(units.Gi, self.api.volume(self.existing).size_bytes)

    def test_managed_volume_is_the_old_one(self):
        volume = self.make_volume()
        volume.update(self.driver.manage_existing(
            volume, {'source-id': self.existing}))
        info = self.driver.initialize_connection(volume, HOST_A)
        self.assertEqual(self.existing, info['data']['vol_uuid'])
        self.driver.terminate_connection(volume, HOST_A)
        self.driver.unmanage(volume)
        self.assertIn(self.existing, self.cluster.volumes)
        self.driver.delete_volume(volume)
        self.assertNotIn(self.existing, self.cluster.volumes)

    def test_bad_references(self):
        self.cluster.pools['other'] = units.Ti
        elsewhere = self.make_volume(pool='other')
        here = self.make_volume()
        for volume, ref in ((here, {}), (here, {'source-id': 'x'}),
                            (here, {'source-id': str(uuid.uuid4())}),
                            (here, {'source-id': 5}),
                            (here, {'source-name': ''}),
                            (here, {'source-name': 'nobody'}),
                            (elsewhere, {'source-name': 'old-data'}),
                            (elsewhere, {'source-id': self.existing})):
            with self.subTest(ref):
                self.failure(exception.ManageExistingInvalidReference,
                             self.driver.manage_existing_get_size, volume,
                             ref)

    def test_volume_in_use_is_left_alone(self):
        self.api.export_volume(self.existing, HOST_A['nqn'])
        self.failure(exception.ManageExistingInvalidReference,
                     self.driver.manage_existing, self.make_volume(),
                     {'source-id': self.existing})

    def test_volume_of_cinder_is_not_managed_again(self):
        own = self.recorded()
        self.driver.create_volume(own)
        taken = self.recorded(_name_id=self.existing)
        for ref in (own.id, taken.name_id):
            self.failure(exception.ManageExistingAlreadyManaged,
                         self.driver.manage_existing, self.make_volume(),
                         {'source-id': ref})

    def recorded(self, **updates):
        """A volume that is in Cinder's tables."""
        volume = objects.Volume(context.get_admin_context(), size=1,
                                host='vm@ashlar-1#default', **updates)
        volume.volume_type_id = str(uuid.uuid4())
        volume.create()
        return volume

    def test_listing(self):
        own = self.created(size=2)
        self.api.create_volume(str(uuid.uuid4()), name='busy',
                               pool='default', size_bytes=3 * units.Gi)
        (busy,) = self.api.volumes('default', name='busy')
        self.api.export_volume(busy.id, HOST_A['nqn'])
        listed = self.driver.get_manageable_volumes(
            [own], None, 10, 0, ['size'], ['asc'])
        self.assertEqual(
            [('old-data', 1, True, None, None),
             (own.name, 2, False, 'already managed', own.id),
             ('busy', 3, False, 'hosts may use it', None)],
            [(line['extra_info']['name'], line['size'],
              line['safe_to_manage'], line['reason_not_safe'],
              line['cinder_id']) for line in listed])
        page = self.driver.get_manageable_volumes(
            [own], None, 1, 1, ['size'], ['desc'])
        self.assertEqual([own.id], [line['cinder_id'] for line in page])


class MoveTest(DriverTestCase):

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

    def test_retype_where_nothing_has_to_be_copied(self):
        volume = self.created()
        diff = {'encryption': {}, 'qos_specs': {},
                'extra_specs': {'multiattach': (None, '<is> True')}}
        self.assertEqual((True, None), self.driver.retype(
            None, volume, None, diff, self.place()))
        self.assertEqual((False, None), self.driver.retype(
            None, volume, None, diff, self.place('fast')))
        diff['encryption'] = {'cipher': (None, 'aes')}
        self.assertEqual((False, None), self.driver.retype(
            None, volume, None, diff, self.place()))

    def test_copied_volume_goes_by_the_id_of_its_copy(self):
        volume, copy = self.created(), self.created()
        volume.update(self.driver.update_migrated_volume(
            None, volume, copy, 'available'))
        self.driver.delete_volume(volume)
        self.assertEqual([volume.id], list(self.cluster.volumes))


def cinder_tables():
    """Make Cinder's tables in memory. -> what forgets them"""
    try:
        from cinder.db.sqlalchemy import api
        from cinder.db.sqlalchemy import models
    except ImportError:  # moved after 2023.1
        from cinder.db import api
        from cinder.db import models
    engine = api.main_context_manager.writer.get_engine()
    metadata = models.BASE.metadata
    # SQLite cannot have the key that this one has; nobody here needs it.
    tables = [table for table in metadata.sorted_tables
              if table.name != 'workers']
    metadata.create_all(engine, tables=tables)
    return lambda: metadata.drop_all(engine, tables=tables)


class StatsTest(DriverTestCase):

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
        self.assertEqual(('default', 100.0, 100.0, 0.0, 0),
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
        self.assertEqual((True, False, True, True),
                         (fast['thin_provisioning_support'],
                          fast['thick_provisioning_support'],
                          fast['online_extend_support'],
                          fast['multiattach']))
        self.assertEqual(('replica', 1, 1, 'none'),
                         (fast['ashlar_code'], fast['ashlar_data'],
                          fast['ashlar_parity'], fast['ashlar_encryption']))

    def test_no_made_up_figures_when_the_api_is_away(self):
        self.twin.stop()
        self.failure(exception.VolumeBackendAPIException,
                          self.driver.get_volume_stats, refresh=True)


class SetupTest(DriverTestCase):

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
        self.assertEqual(('backend_defaults', options.OPTS), (group, opts))

    def test_driver_does_not_import_eventlet(self):
        """Cinder itself may; what we add must not."""
        code = ('import sys, ashlar_brick.client;'
                'sys.exit("eventlet" in sys.modules)')
        subprocess.run([sys.executable, '-c', code], check=True)
