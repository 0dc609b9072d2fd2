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

"""Every call of the driver, with an answer that is lost on the way."""

import copy
import uuid

from ashlar_cinder.tests import base
from cinder import exception

HOST = base.HOST_A

# What Cinder may ask, given the volumes and snapshots of the test below.
CALLS = {
    'create_volume': lambda d, t: d.create_volume(t.new),
    'create_volume_from_snapshot':
        lambda d, t: d.create_volume_from_snapshot(t.new, t.snapshot),
    'delete_volume': lambda d, t: d.delete_volume(t.bare),
    'extend_volume': lambda d, t: d.extend_volume(t.volume, 5),
    'initialize_connection':
        lambda d, t: d.initialize_connection(t.volume, HOST),
    'terminate_connection': lambda d, t: d.terminate_connection(t.used, HOST),
    'force detach': lambda d, t: d.terminate_connection(t.used, None),
    'create_snapshot':
        lambda d, t: d.create_snapshot(t.make_snapshot(t.volume, id=t.id)),
    'delete_snapshot': lambda d, t: d.delete_snapshot(t.snapshot),
    'revert_to_snapshot':
        lambda d, t: d.revert_to_snapshot(None, t.volume, t.snapshot),
    'initialize_connection_snapshot':
        lambda d, t: d.initialize_connection_snapshot(t.snapshot, HOST),
    'terminate_connection_snapshot':
        lambda d, t: d.terminate_connection_snapshot(t.snapshot, HOST),
    'manage_existing':
        lambda d, t: d.manage_existing(t.new, {'source-id': t.bare.id}),
    'create_group': lambda d, t: d.create_group(None, t.to_be),
    'update_group': lambda d, t: d.update_group(None, t.group, [t.bare]),
    'delete_group': lambda d, t: d.delete_group(None, t.group, [t.member]),
    'create_group_snapshot':
        lambda d, t: d.create_group_snapshot(None, t.moment, [t.part]),
    'delete_group_snapshot':
        lambda d, t: d.delete_group_snapshot(None, t.moment, [t.part]),
    'create_group_from_src':
        lambda d, t: d.create_group_from_src(
            None, t.to_be, [t.new], t.moment, [t.part]),
    'retype': lambda d, t: d.retype(None, t.volume, t.bounded, {}, t.place),
}


class LostAnswerTest(base.TestCase):
    """The call fails, is made again, and it is as if it had gone well."""

    def setUp(self):
        super().setUp()
        self.driver.check_for_setup_error()
        self.id = str(uuid.uuid4())
        self.bounded = self.make_type({'total_iops_sec_per_gb': '100'})
        self.volume, self.used, self.bare = (
            self.make_volume(volume_type_id=self.make_type().id)
            for _ in range(3))
        self.volume.volume_type_id = self.bounded.id
        self.new = self.make_volume(volume_type_id=self.bounded.id)
        self.snapshot = self.make_snapshot(self.volume)
        self.group, self.to_be = self.make_group(), self.make_group()
        self.moment = self.make_group_snapshot(self.group)
        self.member = self.make_volume(group_id=self.group.id,
                                       group=self.group)
        self.part = self.make_snapshot(self.member)
        self.plain = self.used.volume_type_id
        self.place = {'host': 'vm@ashlar-1#default', 'capabilities': {
            'location_info': f'AshlarDriver:{self.cluster.id}'}}

    def begin(self, name):
        """Make the cluster such that every call has something to do."""
        for kept in (self.cluster.volumes, self.cluster.snapshots,
                     self.cluster.hosts, self.cluster.reverts,
                     self.cluster.groups, self.cluster.group_snapshots):
            kept.clear()
        self.volume.volume_type_id = (self.plain if name == 'retype' else
                                      self.bounded.id)
        for volume in (self.volume, self.used, self.bare):
            self.driver.create_volume(volume)
        self.driver.create_snapshot(self.snapshot)
        self.driver.initialize_connection(self.used, HOST)
        if name == 'terminate_connection_snapshot':
            self.driver.initialize_connection_snapshot(self.snapshot, HOST)
        self.driver.create_group(None, self.group)
        self.driver.create_volume(self.member)
        if name in ('delete_group_snapshot', 'create_group_from_src'):
            _, (taken,) = self.driver.create_group_snapshot(
                None, self.moment, [self.part])
            self.part.provider_id = taken['provider_id']
        self.cluster.calls.clear()

    def state(self):
        return copy.deepcopy((self.cluster.volumes, self.cluster.snapshots,
                              self.cluster.hosts, self.cluster.groups,
                              self.cluster.group_snapshots,
                              set(self.cluster.reverts.values())))

    def test_call_can_be_made_again(self):
        for name, call in CALLS.items():
            self.begin(name)
            before = self.state()
            call(self.driver, self)
            expected, calls = self.state(), len(self.cluster.calls)
            self.assertNotEqual(before, expected, name)
            for lost in range(calls):
                with self.subTest(name, lost=lost):
                    self.begin(name)
                    self.twin.misbehave('hang up after', after=lost)
                    self.failure(exception.VolumeBackendAPIException, call,
                                 self.driver, self)
                    call(self.driver, self)
                    self.assertEqual(expected, self.state())
