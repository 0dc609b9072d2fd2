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

"""Volumes that begin as a snapshot, or as another volume."""

import uuid

from oslo_config import cfg
from oslo_utils import units

from ashlar_cinder.tests import base
from cinder import exception
from cinder.db import api as db_api


class CloneTest(base.TestCase):

    def setUp(self):
        super().setUp()
        self.source = self.created(size=2)
        self.snapshot = self.taken(self.source)

    def clone(self, size=2, **updates):
        """Begin a volume as the source is now."""
        volume = self.make_volume(size=size, **updates)
        self.driver.create_cloned_volume(volume, self.source)
        return volume

    def stored(self, volume):
        return self.cluster.volumes[volume.name_id]

    def test_of_a_volume(self):
        for size in (2, 5):
            volume = self.clone(size=size)
            stored = self.stored(volume)
            self.assertEqual(
                (volume.name, 'default', size * units.Gi, self.source.id),
                (stored['name'], stored['pool'], stored['size_bytes'],
                 stored['parent']['volume']))

    def test_of_a_snapshot(self):
        # The volume may have grown since.
        self.driver.extend_volume(self.source, 7)
        for size in (2, 5):
            volume = self.make_volume(size=size)
            self.driver.create_volume_from_snapshot(volume, self.snapshot)
            stored = self.stored(volume)
            self.assertEqual(
                (size * units.Gi, self.snapshot.id),
                (stored['size_bytes'], stored['parent']['snapshot']))

    def test_independence_of_the_source(self):
        self.assertNotIn('flatten', self.stored(self.clone())['parent'])
        cfg.CONF.set_override('ashlar_flatten_clones', True,
                              group='ashlar-1')
        of_snapshot = self.make_volume(size=2)
        self.driver.create_volume_from_snapshot(of_snapshot, self.snapshot)
        for volume in (self.clone(), of_snapshot):
            self.assertIn('flatten', self.stored(volume)['parent'])
        self.cluster.calls.clear()
        self.created()
        self.assertEqual(['POST /v1/volumes'], self.cluster.calls)

    def test_source_has_no_more_room(self):
        """Cinder then makes its image cache another image volume."""
        self.cluster.pins = 2
        self.clone()
        for call in (self.clone, lambda: self.taken(self.source)):
            self.failure(exception.SnapshotLimitReached, call)
        # One of the snapshot takes no room.
        self.driver.create_volume_from_snapshot(self.make_volume(size=2),
                                                self.snapshot)

    def test_of_an_image_volume(self):
        """Cinder gives it as a row of its tables."""
        image = self.recorded_volume()
        self.driver.create_volume(image)
        self.source = db_api.volume_get(self.admin, image.id)
        self.assertEqual(image.id,
                         self.stored(self.clone())['parent']['volume'])

    def test_of_what_was_there_before_cinder(self):
        volume = self.created(_name_id=str(uuid.uuid4()))
        taken = self.api.create_snapshot(
            str(uuid.uuid4()), volume_id=volume.name_id, name='old')
        managed = self.make_snapshot(volume, provider_id=taken.id)
        of_volume, of_snapshot = self.make_volume(), self.make_volume()
        self.driver.create_cloned_volume(of_volume, volume)
        self.driver.create_volume_from_snapshot(of_snapshot, managed)
        self.assertEqual(
            (volume.name_id, taken.id),
            (self.stored(of_volume)['parent']['volume'],
             self.stored(of_snapshot)['parent']['snapshot']))

    def test_again_is_the_same_volume(self):
        volume = self.clone()
        self.driver.create_cloned_volume(volume, self.source)
        self.assertEqual(2, len(self.cluster.volumes))

    def test_what_cannot_be(self):
        self.cluster.pools['fast'] = units.Ti
        missing = self.make_volume()
        for volume, source in (
                (self.make_volume(size=1), self.source),
                (self.make_volume(size=2, pool='fast'), self.source),
                (self.make_volume(size=2), missing)):
            self.failure(exception.VolumeBackendAPIException,
                         self.driver.create_cloned_volume, volume, source)
            self.assertNotIn(volume.id, self.cluster.volumes)

    def test_bounds_are_those_of_its_own_type(self):
        self.api.limit_volume(self.source.id, iops=77)
        self.assertNotIn('qos', self.stored(self.clone()))
        made = self.make_type({'total_iops_sec_per_gb': '100'})
        volume = self.clone(size=3, volume_type_id=made.id)
        self.assertEqual(300, self.stored(volume)['qos']['iops'])

    def test_compression_is_that_of_its_own_type(self):
        packed = self.make_type(ashlar__compression='s2')
        of_snapshot = self.make_volume(size=2, volume_type_id=packed.id)
        self.driver.create_volume_from_snapshot(of_snapshot, self.snapshot)
        self.assertEqual('s2', self.stored(of_snapshot)['compression'])
        self.source = self.created(volume_type_id=packed.id)
        self.assertEqual('none', self.stored(self.clone())['compression'])

    def test_encryption_is_that_of_the_source(self):
        sealed = self.make_type(ashlar__encryption='aes-256-xts')
        exc = self.failure(exception.VolumeBackendAPIException, self.clone,
                           volume_type_id=sealed.id)
        self.assertIn('field encryption', str(exc))
        self.source = self.created(volume_type_id=sealed.id)
        for type_id in (None, sealed.id):
            self.assertEqual(
                'aes-256-xts', self.stored(self.clone(
                    volume_type_id=type_id))['encryption'])
