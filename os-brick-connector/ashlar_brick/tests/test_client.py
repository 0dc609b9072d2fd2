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

"""The client against the in-memory twin of the API."""

import datetime
import ipaddress
import logging
import pathlib
import ssl
import tempfile
import threading
import unittest
from unittest import mock
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ashlar_brick import client
from ashlar_brick import errors
from ashlar_brick.tests import api_twin

GiB = 1 << 30
HOST = 'nqn.2014-08.org.nvmexpress:uuid:6c4b2f9e-0000-4000-8000-000000000001'


class ClientTest(unittest.TestCase):
    """One cluster, reached over as many addresses as the test wants."""

    def setUp(self):
        self.cluster = api_twin.Cluster()
        self.twins = []
        self.volume_id = str(uuid.uuid4())

    def start(self, count=1, **options):
        twins = [api_twin.ApiTwin(self.cluster) for _ in range(count)]
        for twin in twins:
            twin.token = twins[0].token
            twin.__enter__()
            self.addCleanup(twin.stop)
        self.twins += twins
        options.setdefault('timeout', 5)
        return client.Client([twin.url for twin in twins], twins[0].token,
                             **options)

    def tearDown(self):
        for twin in self.twins:
            self.assertEqual([], twin.violations)

    def create(self, api, size=GiB):
        return api.create_volume(self.volume_id, name='data', pool='default',
                                 size_bytes=size)

    def test_life_of_a_volume(self):
        api = self.start()
        made = self.create(api)
        self.assertEqual((self.volume_id, 'data', 'default', GiB),
                         (made.id, made.name, made.pool, made.size_bytes))
        self.assertEqual(made, self.create(api), 'again is the same volume')
        self.assertEqual(2 * GiB,
                         api.grow_volume(made.id, 2 * GiB).size_bytes)
        export = api.export_volume(made.id, HOST)
        self.assertEqual((HOST, made.nqn, made.id),
                         (export.host, export.nqn, export.uuid))
        self.assertEqual([('tcp', '192.0.2.1', 4420)],
                         [(p.transport, p.address, p.port)
                          for p in export.portals[:1]])
        self.assertEqual(export, api.export_volume(made.id, HOST))
        self.assertEqual((HOST,), api.volume(made.id).hosts)
        with self.assertRaises(errors.VolumeExported):
            api.delete_volume(made.id)
        api.unexport_volume(made.id, HOST)
        api.unexport_volume(made.id, HOST)
        api.export_volume(made.id, HOST)
        api.unexport_all(made.id)
        api.delete_volume(made.id)
        with self.assertRaises(errors.NotFound):
            api.volume(made.id)

    def test_flatten(self):
        api = self.start()
        self.create(api)
        clone = api.create_volume(str(uuid.uuid4()), name='clone',
                                  pool='default', size_bytes=GiB,
                                  source={'volume': self.volume_id})
        for _again in range(2):
            api.flatten_volume(clone.id)
            api.flatten_volume(self.volume_id)  # begins as nothing
        self.assertIn('flatten', self.cluster.volumes[clone.id]['parent'])

    def test_life_of_a_group(self):
        api = self.start()
        group_id, moment = str(uuid.uuid4()), str(uuid.uuid4())
        made = api.create_group(group_id, name='both')
        self.assertEqual((group_id, 'both', ()),
                         (made.id, made.name, made.volumes))
        self.assertEqual(made, api.create_group(group_id, name='both'))
        self.assertEqual('', self.create(api).group)
        for _again in range(2):
            self.assertEqual((self.volume_id,), api.update_group(
                group_id, add=[self.volume_id]).volumes)
        self.assertEqual(group_id, api.volume(self.volume_id).group)
        with self.assertRaises(errors.VolumeInGroup):
            api.delete_volume(self.volume_id)

        def take():
            return api.create_group_snapshot(moment, group_id=group_id,
                                             name='now')

        taken = take()
        self.assertEqual((moment, group_id, 'available', [self.volume_id]),
                         (taken.id, taken.group, taken.state,
                          list(taken.parts)))
        self.assertEqual(taken, take(), 'again is the same one')
        self.assertEqual(self.volume_id, api.snapshot(
            taken.parts[self.volume_id]).volume)
        api.update_group(group_id, remove=[self.volume_id])
        with self.assertRaises(errors.GroupNotEmpty):
            api.delete_group(group_id)
        api.delete_group_snapshot(moment)
        self.assertEqual([], list(api.snapshots()))
        self.assertEqual((), api.group(group_id).volumes)
        api.delete_group(group_id)
        for call in (api.delete_group_snapshot, api.delete_group):
            with self.assertRaises(errors.NotFound):
                call(group_id)

    def test_pool_and_cluster(self):
        api = self.start()
        self.create(api, 3 * GiB)
        pool = api.pool('default')
        self.assertEqual((100 * GiB, 100 * GiB, 3 * GiB, 1),
                         (pool.total_bytes, pool.free_bytes,
                          pool.provisioned_bytes, pool.volumes))
        self.assertEqual(self.cluster.id, api.cluster().id)

    def test_list_goes_over_all_pages(self):
        api = self.start()
        self.cluster.pools['other'] = GiB
        made = {api.create_volume(str(uuid.uuid4()), name=f'v{number}',
                                  pool='default', size_bytes=GiB).id
                for number in range(5)}
        api.create_volume(self.volume_id, name='elsewhere', pool='other',
                          size_bytes=GiB)
        self.assertEqual(sorted(made),
                         [volume.id for volume in api.volumes('default')])
        self.assertEqual(['v3'], [volume.name for volume in
                                  api.volumes('default', name='v3')])
        self.assertEqual([], list(api.volumes('empty')))

    def test_life_of_a_snapshot(self):
        api = self.start()
        self.create(api)
        snapshot_id = str(uuid.uuid4())

        def take():
            return api.create_snapshot(snapshot_id, name='before',
                                       volume_id=self.volume_id)

        taken = take()
        self.assertEqual(
            (snapshot_id, 'before', self.volume_id, taken.AVAILABLE, GiB, ()),
            (taken.id, taken.name, taken.volume, taken.state,
             taken.size_bytes, taken.hosts))
        self.assertEqual(taken, take(), 'again is the same snapshot')
        self.assertEqual(taken, api.snapshot(snapshot_id))
        export = api.export_snapshot(snapshot_id, HOST)
        self.assertEqual((HOST, snapshot_id), (export.host, export.uuid))
        self.assertEqual((HOST,), api.snapshot(snapshot_id).hosts)
        with self.assertRaises(errors.SnapshotExported):
            api.delete_snapshot(snapshot_id)
        with self.assertRaises(errors.VolumeHasSnapshots):
            api.delete_volume(self.volume_id)
        api.unexport_snapshot(snapshot_id, HOST)
        api.export_snapshot(snapshot_id, HOST)
        api.unexport_snapshot_all(snapshot_id)
        api.delete_snapshot(snapshot_id)
        with self.assertRaises(errors.NotFound):
            api.snapshot(snapshot_id)
        api.delete_volume(self.volume_id)

    def test_snapshot_that_nobody_takes_is_being_created(self):
        api = self.start()
        self.create(api)
        self.cluster.owners = False
        snapshot_id = str(uuid.uuid4())
        self.assertEqual('creating', api.create_snapshot(
            snapshot_id, volume_id=self.volume_id, name='s').state)
        api.delete_snapshot(snapshot_id)
        self.assertEqual('deleting', api.snapshot(snapshot_id).state)

    def test_clones(self):
        api = self.start()
        source = self.create(api)
        taken = api.create_snapshot(str(uuid.uuid4()), volume_id=source.id,
                                    name='s')
        for begin, size in (({'volume': source.id}, GiB),
                             ({'snapshot': taken.id}, 2 * GiB)):
            clone_id = str(uuid.uuid4())

            def clone(clone_id=clone_id, begin=begin, size=size):
                return api.create_volume(clone_id, name='c' + clone_id,
                                         pool='default', size_bytes=size,
                                         source=begin)

            made = clone()
            self.assertEqual((clone_id, size), (made.id, made.size_bytes))
            self.assertEqual(made, clone(), 'again is the same volume')

    def test_lists_of_snapshots(self):
        api = self.start()
        self.create(api)
        other = api.create_volume(str(uuid.uuid4()), name='other',
                                  pool='default', size_bytes=GiB).id
        for volume in (self.volume_id, other):
            for name in ('a', 'b', 'c'):
                api.create_snapshot(str(uuid.uuid4()), volume_id=volume,
                                    name=name)
        self.assertEqual(6, len(list(api.snapshots())))
        self.assertEqual({(other, 'a'), (other, 'b'), (other, 'c')},
                         {(one.volume, one.name)
                          for one in api.volume_snapshots(other)})
        (found,) = api.volume_snapshots(other, name='b')
        self.assertEqual((other, 'b'), (found.volume, found.name))

    def test_bounds_of_a_volume(self):
        api = self.start()
        self.create(api)
        api.limit_volume(self.volume_id, iops=500)
        self.assertEqual({'iops': 500, 'bytes_per_second': 0},
                         self.cluster.volumes[self.volume_id]['qos'])
        with self.assertRaises(errors.Invalid):
            api.limit_volume(self.volume_id, iops=1)
        api.unlimit_volume(self.volume_id)
        api.unlimit_volume(self.volume_id)
        self.assertNotIn('qos', self.cluster.volumes[self.volume_id])

    def test_encryption_is_the_pools_unless_said(self):
        api = self.start()
        self.assertEqual('none', self.create(api).encryption)
        made = api.create_volume(str(uuid.uuid4()), name='sealed',
                                 pool='default', size_bytes=GiB,
                                 encryption='aes-256-xts')
        self.assertEqual('aes-256-xts', made.encryption)

    def test_compression_is_the_pools_unless_said(self):
        api = self.start()
        plain = self.create(api)
        self.assertEqual('none', plain.compression)
        made = api.create_volume(str(uuid.uuid4()), name='packed',
                                 pool='default', size_bytes=GiB,
                                 compression='s2')
        self.assertEqual('s2', made.compression)
        clone = api.create_volume(str(uuid.uuid4()), name='copy',
                                  pool='default', size_bytes=GiB,
                                  compression='s2',
                                  source={'volume': plain.id})
        self.assertEqual('s2', clone.compression)

    def test_codes_become_exceptions(self):
        for status, code, kind in (
                (400, 'invalid_field', errors.Invalid),
                (401, 'unauthenticated', errors.Denied),
                (403, 'forbidden', errors.Denied),
                (404, 'not_found', errors.NotFound),
                (409, 'conflict', errors.Conflict),
                (409, 'volume_exported', errors.VolumeExported),
                (409, 'volume_has_snapshots', errors.VolumeHasSnapshots),
                (409, 'volume_in_group', errors.VolumeInGroup),
                (409, 'group_not_empty', errors.GroupNotEmpty),
                (409, 'snapshot_exported', errors.SnapshotExported),
                (409, 'snapshot_not_newest', errors.SnapshotNotNewest),
                (409, 'snapshot_limit', errors.SnapshotLimit),
                (409, 'quota_exceeded', errors.QuotaExceeded),
                (412, 'precondition_failed', errors.PreconditionFailed),
                (422, 'not_supported', errors.NotSupported),
                (422, 'idempotency_key_reused', errors.ApiError),
                (429, 'too_many_requests', errors.TooManyRequests),
                (500, 'internal', errors.ApiError),
                (503, 'unavailable', errors.Unavailable),
                (502, None, errors.ApiError)):
            problem = {'code': code, 'title': 3}
            exc = errors.from_problem('GET /v1/x', status, problem)
            self.assertIs(kind, type(exc), code)
            self.assertEqual(status, exc.status)

    def test_error_says_what_and_where(self):
        api = self.start()
        with self.assertRaises(errors.ApiError) as caught:
            self.create(api, 2 << 50)
        exc = caught.exception
        self.assertEqual((400, 'invalid_field', 'size_bytes', 'twin-1'),
                         (exc.status, exc.code, exc.field, exc.request_id))
        for word in ('POST /v1/volumes', self.twins[0].url, 'invalid_field',
                     'at most 1 PiB', 'size_bytes', 'twin-1'):
            self.assertIn(word, str(exc))

    def test_shrinking_is_a_conflict(self):
        api = self.start()
        self.create(api)
        with self.assertRaises(errors.Conflict) as caught:
            api.grow_volume(self.volume_id, GiB // 2)
        self.assertNotIsInstance(caught.exception, errors.VolumeExported)

    def test_odd_answers_are_refused(self):
        api = self.start()
        for mood in ('not json', 'not an object', 'too long', 'redirect'):
            with self.subTest(mood):
                self.twins[0].misbehave(mood)
                with self.assertRaises(errors.BadAnswer):
                    api.cluster()

    def test_names_are_percent_encoded(self):
        api = self.start()
        self.create(api)
        api.export_volume(self.volume_id, HOST + '/../x?y')
        self.assertEqual({HOST + '/../x?y'},
                         self.cluster.hosts[self.volume_id])

    # Which failures go on to the next address, and how often.

    def test_dead_address_is_skipped_and_remembered(self):
        api = self.start(3)
        self.twins[0].stop()
        self.create(api)
        self.assertEqual(1, len(self.cluster.calls))
        with mock.patch.object(client.LOG, 'warning') as warning:
            api.volume(self.volume_id)
        warning.assert_not_called()  # went straight to the live one

    def test_lost_answer_is_asked_for_again(self):
        for mood in ('hang up before', 'hang up after'):
            with self.subTest(mood):
                api = self.start(2)
                before = len(self.cluster.calls)
                self.twins[-2].misbehave(mood)
                self.assertEqual(self.volume_id, self.create(api).id)
                self.assertEqual(['POST /v1/volumes'] * 2,
                                 self.cluster.calls[before:])

    def test_lost_answer_to_a_revert_is_not_a_second_one(self):
        api = self.start(2)
        self.create(api)
        taken = api.create_snapshot(str(uuid.uuid4()), name='s',
                                    volume_id=self.volume_id)
        self.twins[0].misbehave('hang up after')
        api.revert_volume(self.volume_id, taken.id)
        self.assertEqual([taken.id], list(self.cluster.reverts.values()))
        api.revert_volume(self.volume_id, taken.id)
        self.assertEqual(2, len(self.cluster.reverts))

    def test_node_without_etcd_is_skipped(self):
        api = self.start(2)
        self.twins[0].misbehave('unavailable')
        self.create(api)
        self.assertEqual(2, len(self.cluster.calls))

    def test_each_address_is_tried_once(self):
        api = self.start(3)
        for twin in self.twins:
            twin.misbehave('hang up before')
        with self.assertRaises(errors.Unreachable) as caught:
            api.cluster()
        self.assertEqual(3, len(self.cluster.calls))
        for twin in self.twins:
            self.assertIn(twin.url, str(caught.exception))

    def test_only_address_unavailable(self):
        api = self.start()
        self.twins[0].misbehave('unavailable')
        with self.assertRaises(errors.Unavailable):
            api.cluster()
        self.assertEqual(1, len(self.cluster.calls), 'no retry')

    def test_silence_is_not_retried(self):
        api = self.start(2, timeout=0.2)
        self.twins[0].misbehave('stay silent')
        with self.assertRaises(errors.TimedOut):
            self.create(api)
        self.assertEqual(1, len(self.cluster.calls))

    def test_errors_are_not_retried(self):
        api = self.start(2)
        with self.assertRaises(errors.NotFound):
            api.volume(self.volume_id)
        self.assertEqual(1, len(self.cluster.calls))

    # Secrets.

    def test_token_is_nowhere_to_be_read(self):
        api = self.start()
        token = self.twins[0].token
        # urllib3 logs as well, so listen at the root.
        with self.assertLogs(logging.getLogger(), 'DEBUG') as logs:
            logging.getLogger().debug('at least one')
            self.twins[0].token += '-renewed'
            with self.assertRaises(errors.Denied) as caught:
                api.cluster()
            self.twins[0].stop()
            with self.assertRaises(errors.Unreachable) as gone:
                api.cluster()
        for text in (repr(api), str(api), repr(caught.exception),
                     repr(gone.exception), '\n'.join(logs.output)):
            self.assertNotIn(token, text)

    def test_environment_is_ignored(self):
        api = self.start()
        with mock.patch.dict('os.environ', {
                'HTTP_PROXY': 'http://127.0.0.1:1',
                'http_proxy': 'http://127.0.0.1:1'}):
            self.assertEqual(self.cluster.id, api.cluster().id)

    def test_bad_arguments(self):
        good = ['http://127.0.0.1:7443']
        for addresses, token in (
                ([], 'x'), (good[0], 'x'), (['127.0.0.1:7443'], 'x'),
                (['ftp://a'], 'x'), (['http://u:p@a'], 'x'),
                (['http://a/v1'], 'x'), (good, ''), (good, None),
                (good, 'two words'), (good, 'a\nb')):
            with self.subTest(addresses=addresses, token=token):
                with self.assertRaises(ValueError) as caught:
                    client.Client(addresses, token)
                self.assertNotIn('two words', str(caught.exception))
        with self.assertRaises(ValueError):
            client.Client(good, 'x', timeout=0)

    def test_missing_ca_file_is_an_error_of_ours(self):
        self.start()
        api = client.Client(['https://127.0.0.1:1'], 'x',
                            ca_file='/does/not/exist')
        with self.assertRaises(errors.AshlarError):
            api.cluster()

    def test_many_threads_share_a_client(self):
        api = self.start()
        failures = []

        def work():
            try:
                volume_id = str(uuid.uuid4())
                api.create_volume(volume_id, name=volume_id, pool='default',
                                  size_bytes=GiB)
                api.delete_volume(volume_id)
            except errors.AshlarError as exc:
                failures.append(exc)

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], failures)
        self.assertEqual({}, self.cluster.volumes)


class TlsTest(unittest.TestCase):
    """Certificates are verified, whatever anybody forgot to configure."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.certificate, key = self_signed(pathlib.Path(folder.name))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.twin = api_twin.ApiTwin(tls=context).__enter__()
        self.addCleanup(self.twin.stop)

    def test_unknown_authority_is_refused(self):
        api = client.Client([self.twin.url], self.twin.token)
        with self.assertRaises(errors.Unreachable) as caught:
            api.cluster()
        self.assertIn('CERTIFICATE_VERIFY_FAILED', str(caught.exception))
        self.assertEqual([], self.twin.cluster.calls, 'no token was sent')

    def test_known_authority_is_accepted(self):
        api = client.Client([self.twin.url], self.twin.token,
                            ca_file=str(self.certificate))
        self.assertEqual(self.twin.cluster.id, api.cluster().id)


def self_signed(folder):
    """Make a certificate for 127.0.0.1. -> (certificate, key), PEM files"""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'twin')])
    now = datetime.datetime.now(datetime.timezone.utc)
    loopback = x509.IPAddress(ipaddress.ip_address('127.0.0.1'))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([loopback]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256()))
    pem = serialization.Encoding.PEM
    paths = folder / 'twin.crt', folder / 'twin.key'
    paths[0].write_bytes(certificate.public_bytes(pem))
    paths[1].write_bytes(key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    return paths


if __name__ == '__main__':
    unittest.main()
