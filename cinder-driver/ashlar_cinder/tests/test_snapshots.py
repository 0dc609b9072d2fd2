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

"""Snapshots: taken, deleted, and attached for a backup."""

import json
import uuid

from os_brick.initiator.connectors import nvmeof
from oslo_utils import units

from ashlar_brick import paths
from ashlar_cinder.tests import base
from cinder import exception
from cinder import objects

HOST_A, HOST_B = base.HOST_A, base.HOST_B


class SnapshotTest(base.TestCase):

    def setUp(self):
        super().setUp()
        self.volume = self.created(size=2)

    def test_taken_again_is_the_same_snapshot(self):
        snapshot = self.taken(self.volume)
        self.driver.create_snapshot(snapshot)
        (stored,) = self.cluster.snapshots.values()
        self.assertEqual(
            (snapshot.id, snapshot.name, self.volume.id, 'available',
             2 * units.Gi),
            (stored['id'], stored['name'], stored['volume'], stored['state'],
             stored['size_bytes']))

    def test_of_a_volume_that_goes_by_its_name_id(self):
        volume = self.created(_name_id=str(uuid.uuid4()))
        snapshot = self.taken(volume)
        self.assertEqual(volume.name_id,
                         self.cluster.snapshots[snapshot.id]['volume'])

    def test_lost_answer_can_be_asked_for_again(self):
        snapshot = self.make_snapshot(self.volume)
        self.twin.misbehave('hang up after')
        self.failure(exception.VolumeBackendAPIException,
                     self.driver.create_snapshot, snapshot)
        self.driver.create_snapshot(snapshot)
        self.assertEqual([snapshot.id], list(self.cluster.snapshots))

    def test_of_a_missing_volume(self):
        self.failure(exception.VolumeBackendAPIException,
                     self.driver.create_snapshot,
                     self.make_snapshot(self.make_volume()))

    def test_not_taken_in_time_is_not_taken_later(self):
        self.cluster.owners = False
        snapshot = self.make_snapshot(self.volume)
        exc = self.failure(exception.SnapshotUnavailable,
                           self.driver.create_snapshot, snapshot)
        self.assertIn(self.volume.id, str(exc))
        self.assertEqual('deleting',
                         self.cluster.snapshots[snapshot.id]['state'])

    def test_delete(self):
        snapshot = self.taken(self.volume)
        self.driver.delete_snapshot(snapshot)
        self.assertEqual({}, self.cluster.snapshots)
        self.driver.delete_snapshot(snapshot)  # missing is fine

    def test_delete_error_is_an_error(self):
        snapshot = self.taken(self.volume)
        self.twin.misbehave('unavailable')
        self.failure(exception.VolumeBackendAPIException,
                     self.driver.delete_snapshot, snapshot)
        self.assertIn(snapshot.id, self.cluster.snapshots)

    def test_delete_while_a_host_reads_it(self):
        snapshot = self.taken(self.volume)
        self.driver.initialize_connection_snapshot(snapshot, HOST_A)
        self.failure(exception.SnapshotIsBusy, self.driver.delete_snapshot,
                     snapshot)
        self.assertIn(snapshot.id, self.cluster.snapshots)

    def test_volume_with_a_snapshot_stays(self):
        snapshot = self.taken(self.volume)
        self.failure(exception.VolumeIsBusy, self.driver.delete_volume,
                     self.volume)
        self.driver.delete_snapshot(snapshot)
        self.driver.delete_volume(self.volume)
        self.assertEqual({}, self.cluster.volumes)


class RevertTest(base.TestCase):

    def setUp(self):
        super().setUp()
        self.volume = self.created()
        self.snapshot = self.taken(self.volume)

    def revert(self):
        self.driver.revert_to_snapshot(None, self.volume, self.snapshot)

    def reverts(self):
        return list(self.cluster.reverts.values())

    def test_in_one_step(self):
        self.assertFalse(self.driver.snapshot_revert_use_temp_snapshot())
        self.revert()
        self.assertEqual([self.snapshot.id], self.reverts())

    def test_to_a_snapshot_that_was_there_before_cinder(self):
        taken = self.api.create_snapshot(
            str(uuid.uuid4()), volume_id=self.volume.id, name='old')
        self.snapshot = self.make_snapshot(self.volume, provider_id=taken.id)
        self.revert()
        self.assertEqual([taken.id], self.reverts())

    def test_what_cannot_be(self):
        stranger = self.api.create_snapshot(
            str(uuid.uuid4()), volume_id=self.volume.id, name='stranger')
        exc = self.failure(exception.VolumeBackendAPIException, self.revert)
        self.assertIn('stranger', str(exc))
        self.api.delete_snapshot(stranger.id)
        self.api.export_volume(self.volume.id, HOST_A['nqn'])
        exc = self.failure(exception.VolumeIsBusy, self.revert)
        self.assertIn('hosts may use it', str(exc))
        self.driver.terminate_connection(self.volume, None)
        self.driver.delete_snapshot(self.snapshot)
        self.failure(exception.VolumeBackendAPIException, self.revert)
        self.assertEqual([], self.reverts())

    def test_nobody_does_it_in_time(self):
        self.cluster.owners = False
        exc = self.failure(exception.VolumeBackendAPIException, self.revert)
        self.assertIn('as soon as one does', str(exc))


class BackupTest(base.TestCase):
    """What cinder-backup asks of the driver."""

    def setUp(self):
        super().setUp()
        self.volume = self.created()
        self.snapshot = self.taken(self.volume)

    def readers(self):
        return self.cluster.hosts[self.snapshot.id]

    def backup(self, **updates):
        """A backup that is in Cinder's tables."""
        backup = objects.Backup(self.admin, user_id='u', project_id='p',
                                **updates)
        backup.create()
        return backup

    def test_volume_in_use_is_backed_up_from_a_snapshot(self):
        volume = self.recorded_volume(previous_status='in-use')
        self.driver.create_volume(volume)
        backup = self.backup(volume_id=volume.id)
        device, is_snapshot = self.driver.get_backup_device(self.admin,
                                                            backup)
        self.assertEqual((True, volume.id, 'available', device.id),
                         (is_snapshot, device.volume_id, device.status,
                          backup.temp_snapshot_id))
        self.assertEqual(volume.id,
                         self.cluster.snapshots[device.id]['volume'])

    def test_snapshot_is_backed_up_as_it_is(self):
        volume = self.recorded_volume()
        snapshot = self.recorded_snapshot(volume)
        device, is_snapshot = self.driver.get_backup_device(
            self.admin,
            self.backup(volume_id=volume.id, snapshot_id=snapshot.id))
        self.assertEqual((True, snapshot.id), (is_snapshot, device.id))

    def test_host_reads_the_snapshot(self):
        self.driver.create_export_snapshot(None, self.snapshot, HOST_A)
        info = self.driver.initialize_connection_snapshot(self.snapshot,
                                                          HOST_A)
        self.assertEqual('nvmeof', info['driver_volume_type'])
        self.assertEqual(
            {'target_nqn': self.cluster.snapshots[self.snapshot.id]['nqn'],
             'vol_uuid': self.snapshot.id,
             'portals': [('192.0.2.1', '4420', 'tcp'),
                         ('192.0.2.2', '4420', 'tcp'),
                         ('192.0.2.3', '4420', 'tcp')],
             'host_nqn': HOST_A['nqn'], 'access_mode': 'ro'}, info['data'])
        self.assertEqual(({HOST_A['nqn']}, set()),
                         (self.readers(), self.hosts(self.volume)))
        self.driver.terminate_connection_snapshot(self.snapshot, HOST_A)
        self.driver.remove_export_snapshot(None, self.snapshot)
        self.assertEqual(set(), self.readers())

    def test_both_connectors_understand_it(self):
        info = self.driver.initialize_connection_snapshot(self.snapshot,
                                                          HOST_A)
        data = json.loads(json.dumps(info['data']))
        (target,) = nvmeof.NVMeOFConnProps(data).targets
        parsed = paths.Volume.parse(data)
        self.assertEqual((self.snapshot.id, 3),
                         (target.uuid, len(target.portals)))
        self.assertEqual((self.snapshot.id, 3),
                         (parsed.uuid, len(parsed.portals)))

    def test_host_with_our_connector_uses_it(self):
        info = self.driver.initialize_connection_snapshot(
            self.snapshot, dict(HOST_A, ashlar_connector='1'))
        self.assertEqual('ashlar', info['driver_volume_type'])

    def test_host_without_nqn_is_refused(self):
        self.failure(exception.InvalidConnectorException,
                     self.driver.initialize_connection_snapshot,
                     self.snapshot, {'host': 'h'})
        self.assertEqual(set(), self.readers())

    def test_taken_from_all_hosts(self):
        for host in (HOST_A, HOST_B):
            self.driver.initialize_connection_snapshot(self.snapshot, host)
        self.driver.terminate_connection_snapshot(self.snapshot, HOST_B)
        self.assertEqual({HOST_A['nqn']}, self.readers())
        self.driver.terminate_connection_snapshot(self.snapshot,
                                                  {'host': 'h'})
        self.assertEqual({HOST_A['nqn']}, self.readers())
        self.driver.terminate_connection_snapshot(self.snapshot, None,
                                                  force=True)
        self.assertEqual(set(), self.readers())

    def test_missing_snapshot(self):
        gone = self.make_snapshot(self.volume)
        self.driver.terminate_connection_snapshot(gone, HOST_A)
        self.driver.terminate_connection_snapshot(gone, None)
        self.failure(exception.VolumeBackendAPIException,
                     self.driver.initialize_connection_snapshot, gone, HOST_A)
