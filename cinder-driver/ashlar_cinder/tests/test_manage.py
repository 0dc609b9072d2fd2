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

"""Managing what was there before Cinder, with Cinder's own tables."""

import uuid

from oslo_utils import units

from ashlar_cinder.tests import base
from cinder import exception


class VolumeTest(base.TestCase):
    """Volumes that were there before Cinder, with Cinder's tables."""

    def setUp(self):
        super().setUp()
        self.existing = str(uuid.uuid4())
        self.api.create_volume(self.existing, name='old-data',
                               pool='default', size_bytes=units.Gi // 2)

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
        info = self.driver.initialize_connection(volume, base.HOST_A)
        self.assertEqual(self.existing, info['data']['vol_uuid'])
        self.driver.terminate_connection(volume, base.HOST_A)
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
        self.api.export_volume(self.existing, base.HOST_A['nqn'])
        self.failure(exception.ManageExistingInvalidReference,
                     self.driver.manage_existing, self.make_volume(),
                     {'source-id': self.existing})

    def test_volume_of_cinder_is_not_managed_again(self):
        own = self.recorded_volume()
        self.driver.create_volume(own)
        taken = self.recorded_volume(_name_id=self.existing)
        for ref in (own.id, taken.name_id):
            self.failure(exception.ManageExistingAlreadyManaged,
                         self.driver.manage_existing, self.make_volume(),
                         {'source-id': ref})

    def test_listing(self):
        own = self.created(size=2)
        self.api.create_volume(str(uuid.uuid4()), name='busy',
                               pool='default', size_bytes=3 * units.Gi)
        (busy,) = self.api.volumes('default', name='busy')
        self.api.export_volume(busy.id, base.HOST_A['nqn'])
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


class SnapshotTest(base.TestCase):

    def setUp(self):
        super().setUp()
        self.volume = self.recorded_volume()
        self.driver.create_volume(self.volume)
        self.existing = self.take('monday')

    def take(self, name, volume=None):
        """Take a snapshot without Cinder. -> its id"""
        return self.api.create_snapshot(
            str(uuid.uuid4()), name=name,
            volume_id=(volume or self.volume).name_id).id

    def test_by_id_and_by_name(self):
        self.api.grow_volume(self.volume.id, 3 * units.Gi // 2)
        larger = self.take('tuesday')
        for ref, found, size in (({'source-id': larger}, larger, 2),
                                 ({'source-name': 'monday'}, self.existing,
                                  1)):
            snapshot = self.recorded_snapshot(self.volume)
            self.assertEqual(
                size, self.driver.manage_existing_snapshot_get_size(
                    snapshot, ref))
            self.assertEqual(
                {'provider_id': found},
                self.driver.manage_existing_snapshot(snapshot, ref))

    def test_managed_snapshot_is_the_old_one(self):
        snapshot = self.recorded_snapshot(self.volume)
        snapshot.update(self.driver.manage_existing_snapshot(
            snapshot, {'source-id': self.existing}))
        info = self.driver.initialize_connection_snapshot(snapshot,
                                                          base.HOST_A)
        self.assertEqual(self.existing, info['data']['vol_uuid'])
        self.driver.terminate_connection_snapshot(snapshot, base.HOST_A)
        self.driver.unmanage_snapshot(snapshot)
        self.assertIn(self.existing, self.cluster.snapshots)
        self.driver.delete_snapshot(snapshot)
        self.assertEqual({}, self.cluster.snapshots)

    def test_bad_references(self):
        other = self.created()
        elsewhere = self.take('elsewhere', other)
        snapshot = self.recorded_snapshot(self.volume)
        for ref in ({}, {'source-id': 'x'}, {'source-id': str(uuid.uuid4())},
                    {'source-name': 'nobody'}, {'source-id': elsewhere},
                    {'source-name': 'elsewhere'}):
            with self.subTest(ref):
                self.failure(exception.ManageExistingInvalidReference,
                             self.driver.manage_existing_snapshot_get_size,
                             snapshot, ref)

    def test_what_is_in_use_or_on_its_way_is_left_alone(self):
        self.api.export_snapshot(self.existing, base.HOST_A['nqn'])
        self.cluster.owners = False
        for snapshot_id, why in ((self.existing, 'hosts may use it'),
                                 (self.take('late'), 'creating')):
            exc = self.failure(exception.ManageExistingInvalidReference,
                               self.driver.manage_existing_snapshot,
                               self.recorded_snapshot(self.volume),
                               {'source-id': snapshot_id})
            self.assertIn(why, str(exc))

    def test_snapshot_of_cinder_is_not_managed_again(self):
        own = self.recorded_snapshot(self.volume)
        self.driver.create_snapshot(own)
        taken = self.recorded_snapshot(self.volume, provider_id=self.existing)
        for ref in (own.id, taken.provider_id):
            self.failure(exception.ManageExistingAlreadyManaged,
                         self.driver.manage_existing_snapshot,
                         self.recorded_snapshot(self.volume),
                         {'source-id': ref})

    def test_snapshot_that_cinder_let_go_of_is_managed_anew(self):
        own = self.recorded_snapshot(self.volume)
        self.driver.create_snapshot(own)
        self.driver.unmanage_snapshot(own)
        own.destroy()
        self.assertEqual(
            {'provider_id': own.id},
            self.driver.manage_existing_snapshot(
                self.recorded_snapshot(self.volume), {'source-id': own.id}))

    def test_listing(self):
        own = self.taken(self.volume)
        busy = self.take('busy')
        self.api.export_snapshot(busy, base.HOST_A['nqn'])
        self.cluster.pools['other'] = units.Ti
        self.take('elsewhere', self.created(pool='other'))
        self.cluster.owners = False
        self.take('late')
        listed = self.driver.get_manageable_snapshots(
            [own], None, 10, 0, ['reference'], ['asc'])
        self.assertEqual(
            {('monday', True, None, None),
             (own.name, False, 'already managed', own.id),
             ('busy', False, 'hosts may use it', None),
             ('late', False, 'it is creating', None)},
            {(line['extra_info']['name'], line['safe_to_manage'],
              line['reason_not_safe'], line['cinder_id'])
             for line in listed})
        self.assertEqual([(1, {'source-id': self.volume.id})] * 4,
                         [(line['size'], line['source_reference'])
                          for line in listed])
