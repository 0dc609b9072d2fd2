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

"""Groups: made, changed, taken snapshots of, made from others, deleted."""

import uuid

from ashlar_cinder.tests import base
from cinder import exception

HOST = base.HOST_A


class GroupTest(base.TestCase):

    def setUp(self):
        super().setUp()
        self.group = self.made()
        self.members = [self.created(size=size, group_id=self.group.id,
                                     group=self.group) for size in (1, 2)]

    def made(self, **kwargs):
        group = self.make_group(**kwargs)
        self.driver.create_group(None, group)
        return group

    def moment(self, group=None, volumes=None):
        """A group snapshot that is taken. -> it, with its snapshots"""
        moment = self.make_group_snapshot(group or self.group)
        parts = [self.make_snapshot(volume)
                 for volume in volumes or self.members]
        update, updates = self.driver.create_group_snapshot(None, moment,
                                                            parts)
        self.assertEqual({'status': 'available'}, update)
        for part, update in zip(parts, updates, strict=True):
            self.assertEqual((part.id, 'available'),
                             (update['id'], update['status']))
            part.provider_id = update['provider_id']
        return moment, parts

    def volumes_in(self, group):
        return self.cluster.show_group(group.id)[1]['volumes']

    def ids(self, *volumes):
        return [volume.name_id for volume in volumes]

    def test_volumes_are_made_in_it(self):
        self.assertEqual(self.ids(*self.members), self.volumes_in(self.group))

    def test_volume_that_cannot_join_is_not_made(self):
        before = set(self.cluster.volumes)
        other = self.make_group()  # of which the cluster does not know
        exc = self.failure(exception.VolumeBackendAPIException, self.created,
                           group_id=other.id, group=other)
        self.assertIn(other.id, str(exc))
        self.assertEqual(before, set(self.cluster.volumes))

    def test_volume_whose_joining_nobody_heard_of_is_not_made(self):
        before = set(self.cluster.volumes)
        self.twin.misbehave('hang up after', after=1)
        self.failure(exception.VolumeBackendAPIException, self.created,
                     group_id=self.group.id, group=self.group)
        self.assertEqual(before, set(self.cluster.volumes))

    def test_volumes_come_and_go(self):
        first, second = self.members
        third = self.created(_name_id=str(uuid.uuid4()))
        for _again in range(2):
            self.assertEqual((None, None, None), self.driver.update_group(
                None, self.group, add_volumes=[third],
                remove_volumes=[first]))
            self.assertEqual(self.ids(second, third),
                             self.volumes_in(self.group))

    def test_volume_of_another_group_stays_there(self):
        other = self.made()
        self.failure(exception.VolumeIsBusy, self.driver.update_group, None,
                     other, add_volumes=self.members)
        self.assertEqual([], self.volumes_in(other))

    def test_delete_takes_the_volumes_along(self):
        for _again in range(2):
            self.assertEqual((None, None), self.driver.delete_group(
                None, self.group, self.members))
            self.assertEqual(({}, {}),
                             (self.cluster.volumes, self.cluster.groups))

    def test_delete_though_a_call_that_was_cut_off_added_another(self):
        added = self.created()
        self.api.update_group(self.group.id, add=[added.id])
        self.driver.delete_group(None, self.group, self.members)
        self.assertEqual(({added.id}, {}),
                         (set(self.cluster.volumes), self.cluster.groups))

    def test_delete_while_a_host_uses_a_volume(self):
        first, second = self.members
        self.driver.initialize_connection(second, HOST)
        self.failure(exception.VolumeIsBusy, self.driver.delete_group, None,
                     self.group, self.members)
        self.assertEqual(self.ids(second), list(self.cluster.volumes))
        self.driver.terminate_connection(second, HOST)
        self.driver.delete_group(None, self.group, self.members)
        self.assertEqual(({}, {}), (self.cluster.volumes, self.cluster.groups))

    def test_snapshot_is_of_all_volumes(self):
        moment, parts = self.moment()
        self.assertEqual([moment.id], list(self.cluster.group_snapshots))
        for part, volume in zip(parts, self.members, strict=True):
            stored = self.cluster.snapshots[part.provider_id]
            self.assertEqual((volume.id, moment.id), (
                stored['volume'], stored['group_snapshot']))
        for _again in range(2):
            self.assertEqual((None, None), self.driver.delete_group_snapshot(
                None, moment, parts))
            self.assertEqual({}, self.cluster.snapshots)

    def test_its_snapshots_are_as_others(self):
        moment, parts = self.moment()
        clone = self.make_volume(size=5)
        self.driver.create_volume_from_snapshot(clone, parts[1])
        self.assertEqual(
            self.members[1].id,
            self.cluster.volumes[clone.id]['parent']['volume'])
        self.driver.initialize_connection_snapshot(parts[0], HOST)
        self.failure(exception.SnapshotIsBusy,
                     self.driver.delete_group_snapshot, None, moment, parts)
        self.driver.terminate_connection_snapshot(parts[0], HOST)
        self.driver.delete_group_snapshot(None, moment, parts)

    def test_snapshot_not_taken_in_time_is_not_taken_later(self):
        self.cluster.owners = False
        exc = self.failure(exception.SnapshotUnavailable, self.moment)
        self.assertIn(self.group.id, str(exc))
        self.assertEqual({}, self.cluster.group_snapshots)

    def test_snapshot_of_other_volumes_than_cinder_thinks_is_none(self):
        self.api.update_group(self.group.id,
                              remove=self.ids(self.members[0]))
        self.failure(exception.SnapshotUnavailable, self.moment)
        self.assertEqual({}, self.cluster.group_snapshots)

    def test_source_has_no_more_room(self):
        self.cluster.pins = 1
        self.taken(self.members[1])
        self.failure(exception.SnapshotLimitReached, self.moment)

    def begun(self, **source):
        """A group made from another. -> it, with its volumes"""
        group = self.make_group()
        volumes = [self.make_volume(size=3, group_id=group.id, group=group)
                   for _ in self.members]
        self.assertEqual((None, None), self.driver.create_group_from_src(
            None, group, volumes, **source))
        return group, volumes

    def test_group_from_a_group_snapshot(self):
        moment, parts = self.moment()
        group, volumes = self.begun(group_snapshot=moment, snapshots=parts)
        self.assertEqual(self.ids(*volumes), self.volumes_in(group))
        for volume, part in zip(volumes, parts, strict=True):
            stored = self.cluster.volumes[volume.id]
            self.assertEqual((part.provider_id, 3 << 30, volume.name), (
                stored['parent']['snapshot'], stored['size_bytes'],
                stored['name']))

    def test_group_from_a_group_is_of_one_moment(self):
        self.cluster.calls.clear()
        group, volumes = self.begun(source_group=self.group,
                                    source_vols=self.members)
        self.assertEqual(self.ids(*volumes), self.volumes_in(group))
        for volume, source in zip(volumes, self.members, strict=True):
            self.assertEqual(
                source.id,
                self.cluster.volumes[volume.id]['parent']['volume'])
        self.assertEqual(
            1, self.cluster.calls.count('POST /v1/group-snapshots'))
        self.assertEqual(({}, {}), (self.cluster.group_snapshots,
                                    self.cluster.snapshots))

    def test_what_a_group_half_made_leaves_goes_with_it(self):
        before = set(self.cluster.volumes)
        group = self.make_group()
        volumes = [self.make_volume(size=3, group_id=group.id, group=group)
                   for _ in self.members]
        for lost in range(7):
            self.twin.misbehave('hang up after', after=lost)
            self.failure(exception.VolumeBackendAPIException,
                         self.driver.create_group_from_src, None, group,
                         volumes, source_group=self.group,
                         source_vols=self.members)
            self.driver.delete_group(None, group, volumes)
            self.assertEqual(
                (before, [self.group.id], {}, {}),
                (set(self.cluster.volumes), list(self.cluster.groups),
                 self.cluster.group_snapshots, self.cluster.snapshots))

    def test_other_groups_are_cinders_own(self):
        group = self.make_group(consistent=False)
        moment = self.make_group_snapshot(group)
        self.cluster.calls.clear()
        for call, *rest in (
                ('create_group',), ('update_group',), ('delete_group', []),
                ('create_group_from_src', [])):
            self.failure(NotImplementedError, getattr(self.driver, call),
                         None, group, *rest)
        for call in ('create_group_snapshot', 'delete_group_snapshot'):
            self.failure(NotImplementedError, getattr(self.driver, call),
                         None, moment, [])
        self.assertEqual([], self.cluster.calls)
        volume = self.created(group_id=group.id, group=group)
        self.assertNotIn('group', self.cluster.volumes[volume.id])


class LeftInAGroupTest(base.TestCase):
    """Volumes that Cinder believes to be in no group."""

    def delete_from(self, name):
        volume, group_id = self.created(), str(uuid.uuid4())
        self.api.create_group(group_id, name=name or f'group-{group_id}')
        self.api.update_group(group_id, add=[volume.id])
        self.driver.delete_volume(volume)

    def test_group_of_cinder_lets_go(self):
        self.delete_from(None)
        self.assertEqual({}, self.cluster.volumes)

    def test_group_of_others_does_not(self):
        exc = self.failure(exception.VolumeIsBusy, self.delete_from, 'mine')
        self.assertIn('volume_in_group', str(exc))
        self.assertEqual(1, len(self.cluster.volumes))
