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

"""Volume types: QoS, encryption and compression, with Cinder's own tables."""

from ashlar_cinder import policy
from ashlar_cinder.tests import base
from cinder import exception
from cinder.volume import volume_types


class TestCase(base.TestCase):

    def qos(self, volume):
        return self.cluster.volumes[volume.name_id].get('qos')


class BoundsTest(TestCase):
    """From QoS specs to the bounds of a volume of so many GiB."""

    def test_names(self):
        for specs, size, expected in (
                ({'total_iops_sec': '500'}, 1, (500, 0)),
                ({'total_bytes_sec': '1048576'}, 1, (0, 1 << 20)),
                ({'total_iops_sec_per_gb': '20'}, 5, (100, 0)),
                ({'total_iops_sec': '9', 'total_iops_sec_per_gb': '20'}, 5,
                 (100, 0)),
                ({'total_iops_sec_per_gb': '1',
                  'total_iops_sec_per_gb_min': '50'}, 5, (50, 0)),
                ({'total_iops_sec_per_gb': '20', 'total_iops_sec_max': '60'},
                 5, (60, 0)),
                ({'total_iops_sec': '100', 'total_bytes_sec': '2000000'}, 1,
                 (100, 2000000))):
            with self.subTest(specs):
                self.assertEqual(
                    policy.Bounds(*expected),
                    policy.bounds(self.make_type(specs).id, size))

    def test_none(self):
        self.assertIsNone(policy.bounds(None, 1))
        for specs, consumer in ((None, None), ({}, 'back-end'),
                                ({'total_iops_sec': '0'}, 'back-end'),
                                ({'total_iops_sec': '500'}, 'front-end'),
                                ({'write_iops_sec': '5'}, 'both')):
            with self.subTest(specs):
                self.assertIsNone(policy.bounds(
                    self.make_type(specs, consumer).id, 1))

    def test_what_cannot_be_kept_is_refused(self):
        for specs, culprit in (
                ({'read_iops_sec': '500'}, 'read_iops_sec'),
                ({'total_iops_sec': '500', 'total_iops_sec_max': '900'},
                 'total_iops_sec_max'),
                ({'total_iops_sec': '9'}, 'at least 10'),
                ({'total_iops_sec_per_gb': '3'}, 'at least 10'),
                ({'total_bytes_sec': '1048575'}, 'at least 1048576'),
                ({'total_iops_sec': '-5'}, 'a number, not -5'),
                ({'total_iops_sec': '1e3'}, 'a number, not 1e3')):
            with self.subTest(specs):
                exc = self.failure(exception.InvalidQoSSpecs, policy.bounds,
                                   self.make_type(specs).id, 1)
                self.assertIn(culprit, str(exc))

    def test_both_are_kept_by_nova_and_here_where_we_can(self):
        made = self.make_type({'total_iops_sec': '500',
                               'write_iops_sec': '100'}, 'both')
        self.assertEqual(policy.Bounds(iops=500), policy.bounds(made.id, 1))


class QosTest(TestCase):
    """The bounds of volumes, over their lives."""

    def test_new_volume_has_them(self):
        made = self.make_type({'total_iops_sec_per_gb': '100'})
        volume = self.created(size=2, volume_type_id=made.id)
        self.assertEqual({'iops': 200, 'bytes_per_second': 0},
                         self.qos(volume))
        self.driver.extend_volume(volume, 5)
        self.assertEqual(500, self.qos(volume)['iops'])

    def test_extension_leaves_fixed_bounds_alone(self):
        made = self.make_type({'total_iops_sec': '100'})
        volume = self.created(volume_type_id=made.id)
        self.api.limit_volume(volume.id, iops=77)  # by an operator
        self.driver.extend_volume(volume, 2)
        self.assertEqual(77, self.qos(volume)['iops'])

    def test_volume_that_cannot_have_them_is_not_made(self):
        made = self.make_type({'total_iops_sec': '5'})
        self.failure(exception.InvalidQoSSpecs, self.created,
                     volume_type_id=made.id)
        self.assertEqual({}, self.cluster.volumes)

    def test_volume_that_did_not_get_them_is_gone(self):
        made = self.make_type({'total_iops_sec': '500'})
        refuse = self.cluster.limit_volume
        self.cluster.limit_volume = lambda volume_id, _bounds: refuse(
            volume_id, {'iops': 1})
        exc = self.failure(exception.VolumeBackendAPIException, self.created,
                           volume_type_id=made.id)
        self.assertIn('at least 10', str(exc))
        self.assertEqual({}, self.cluster.volumes)

    def test_managed_volume_gets_them(self):
        made = self.make_type({'total_iops_sec_per_gb': '50'})
        volume = self.make_volume(volume_type_id=made.id)
        found = self.created(size=3)
        self.driver.manage_existing(volume, {'source-id': found.id})
        self.assertEqual(150, self.qos(found)['iops'])


class RetypeTest(TestCase):

    def place(self, pool='default'):
        return {'host': f'vm@ashlar-1#{pool}', 'capabilities': {
            'location_info': f'AshlarDriver:{self.cluster.id}',
            'pool_name': pool}}

    def retype(self, volume, new_type):
        diff, _equal = volume_types.volume_types_diff(
            self.admin, volume.volume_type_id, new_type.id)
        done = self.driver.retype(None, volume, new_type, diff, self.place())
        self.assertEqual((True, None), done)
        volume.volume_type_id = new_type.id

    def test_where_nothing_has_to_be_copied(self):
        volume = self.created()
        plain = self.make_type()
        diff = {'encryption': {}, 'qos_specs': {},
                'extra_specs': {'multiattach': (None, '<is> True')}}
        self.assertEqual((True, None), self.driver.retype(
            None, volume, plain, diff, self.place()))
        self.assertEqual((False, None), self.driver.retype(
            None, volume, plain, diff, self.place('fast')))
        diff['encryption'] = {'cipher': (None, 'aes')}
        self.assertEqual((False, None), self.driver.retype(
            None, volume, plain, diff, self.place()))

    def test_bounds_follow_the_type(self):
        plain, other = self.make_type(), self.make_type()
        fast = self.make_type({'total_iops_sec': '900'})
        slow = self.make_type({'total_iops_sec': '100'})
        volume = self.created(volume_type_id=plain.id)
        for new_type, expected in ((fast, 900), (slow, 100), (plain, None)):
            self.retype(volume, new_type)
            self.assertEqual(expected,
                             (self.qos(volume) or {}).get('iops'))
        self.api.limit_volume(volume.id, iops=77)  # by an operator
        self.retype(volume, other)
        self.assertEqual(77, self.qos(volume)['iops'])

    def test_encryption_needs_a_copy(self):
        sealed = self.make_type(ashlar__encryption='aes-256-xts')
        volume = self.created()
        self.assertEqual((False, None), self.driver.retype(
            None, volume, sealed, {}, self.place()))
        self.retype(self.created(volume_type_id=sealed.id), sealed)

    def test_compression_needs_a_copy(self):
        packed = self.make_type(ashlar__compression='s2')
        volume = self.created()
        self.assertEqual((False, None), self.driver.retype(
            None, volume, packed, {}, self.place()))
        volume = self.created(volume_type_id=packed.id)
        self.retype(volume, self.make_type())
        self.retype(volume, packed)

    def test_a_clone_from_before_clones_were_compressed_stays(self):
        packed = self.make_type(ashlar__compression='s2')
        fast = self.make_type({'total_iops_sec': '900'},
                              ashlar__compression='s2')
        volume = self.make_volume(volume_type_id=packed.id)
        self.driver.create_cloned_volume(volume, self.created())
        self.cluster.volumes[volume.id]['compression'] = 'none'
        self.retype(volume, fast)
        self.assertEqual(900, self.qos(volume)['iops'])


class EncryptionTest(TestCase):

    def test_type_goes_before_the_pool(self):
        for wanted, expected in (('aes-256-xts', 'aes-256-xts'),
                                 ('none', 'none'), (None, 'none')):
            extra = {'ashlar__encryption': wanted} if wanted else {}
            volume = self.created(volume_type_id=self.make_type(**extra).id)
            self.assertEqual(expected,
                             self.cluster.volumes[volume.id]['encryption'])

    def test_unknown_cipher(self):
        exc = self.failure(
            exception.InvalidVolumeType, self.created,
            volume_type_id=self.make_type(ashlar__encryption='rot13').id)
        self.assertIn('aes-256-xts or none', str(exc))
        self.assertEqual({}, self.cluster.volumes)

    def test_managed_volume_has_to_fit(self):
        sealed = self.make_type(ashlar__encryption='aes-256-xts')
        open_one = self.created()
        self.failure(exception.ManageExistingVolumeTypeMismatch,
                     self.driver.manage_existing,
                     self.make_volume(volume_type_id=sealed.id),
                     {'source-id': open_one.id})

    def test_it_is_among_the_capabilities(self):
        self.driver.init_capabilities()
        described = self.driver.capabilities['properties']
        self.assertEqual(['aes-256-xts', 'none'],
                         described[policy.ENCRYPTION]['enum'])


class CompressionTest(TestCase):

    def test_type_goes_before_the_pool(self):
        for wanted, expected in (('s2', 's2'), ('none', 'none'),
                                 (None, 'none')):
            extra = {'ashlar__compression': wanted} if wanted else {}
            volume = self.created(volume_type_id=self.make_type(**extra).id)
            self.assertEqual(expected,
                             self.cluster.volumes[volume.id]['compression'])

    def test_unknown_compression(self):
        exc = self.failure(
            exception.InvalidVolumeType, self.created,
            volume_type_id=self.make_type(ashlar__compression='zip').id)
        self.assertIn('s2 or none', str(exc))
        self.assertEqual({}, self.cluster.volumes)

    def test_managed_volume_has_to_fit(self):
        packed = self.make_type(ashlar__compression='s2')
        plain = self.created()
        self.failure(exception.ManageExistingVolumeTypeMismatch,
                     self.driver.manage_existing,
                     self.make_volume(volume_type_id=packed.id),
                     {'source-id': plain.id})

    def test_it_is_among_the_capabilities(self):
        self.driver.init_capabilities()
        described = self.driver.capabilities['properties']
        self.assertEqual(['s2', 'none'],
                         described[policy.COMPRESSION]['enum'])
