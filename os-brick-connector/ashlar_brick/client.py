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

"""The Python client of the Ashlar REST API.

Contract:

* Every method is one call of the API (a list: one a page) and idempotent:
  volumes, snapshots and groups are created under an id that the caller chose,
  sizes and bounds are absolute, allowing and removing a host twice is the same
  as once; where that is not enough, the call bears an idempotency key. So a
  call whose answer was lost may be made again, by the caller or as in the next
  point.
* Any node answers any call. A call goes to the address that served last; when
  the connection to it fails (refused, no route, TLS handshake, reset) or it
  answers 503, the next address is tried, each at most once. Nothing else is
  retried: silence is TimedOut, any other answer is the answer.
* A call takes at most `connect_timeout + timeout` seconds per address tried.
* TLS certificates are always verified; proxies, .netrc and CA variables of
  the environment are ignored; redirects are refused (they could carry the
  token elsewhere). The token is in no log line, exception or repr.
* Each call has a connection of its own. A kept connection that the other side
  has just closed could not be told from a call that broke half-way; besides,
  nothing is shared, so threads and green threads may share one Client.
"""

import json
import logging
import re
import time
from urllib import parse
import uuid

import requests
import urllib3

from ashlar_brick import errors
from ashlar_brick import resources

LOG = logging.getLogger(__name__)

# Entries to ask for at a time in a list; the most that the API gives.
PAGE = 1000
# Answers are small; more than this is no answer of our API.
MAX_ANSWER_BYTES = 8 << 20


class Client:
    """Calls to one Ashlar cluster.

    :param addresses: base URLs of the API, such as 'https://node1:7443'; at
        least one
    :param credentials: bearer token (printable ASCII without spaces), or what
        gives tokens that end: an object with `token()` and with
        `renew(refused)`, which is asked for another one when the API refused
        that one, and answers None when there is none. Both may raise an
        AshlarError; any thread may call them
    :param ca_file: PEM bundle that signs the nodes' certificates; None means
        the system's certificate authorities
    :param connect_timeout: seconds to reach one address
    :param timeout: seconds to get a complete answer from it
    :raises ValueError: an argument that cannot work
    """

    def __init__(self, addresses, credentials, *, ca_file=None,
                 connect_timeout=5.0, timeout=30.0):
        if isinstance(addresses, str) or not addresses:
            raise ValueError('the API needs a list of at least one address')
        self._addresses = tuple(_base_url(url) for url in addresses)
        if connect_timeout <= 0 or timeout <= 0:
            raise ValueError('timeouts must be above zero')
        if credentials is None or isinstance(credentials, str):
            credentials = _OneToken(_checked(credentials))
        self._credentials = credentials
        self._verify = ca_file or True
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._current = 0  # index of the address that served last

    def __repr__(self):
        return f'<ashlar Client {" ".join(self._addresses)}>'

    @property
    def addresses(self):
        """The base URLs, in the order given."""
        return self._addresses

    def cluster(self):
        """Show the cluster. -> resources.Cluster"""
        return resources.Cluster.parse(self._call('GET', ['cluster']))

    def pool(self, name):
        """Show a pool with its capacity. -> resources.Pool, or NotFound"""
        return resources.Pool.parse(self._call('GET', ['pools', name]))

    def create_volume(self, volume_id, *, name, pool, size_bytes,
                      encryption=None, compression=None, source=None):
        """Create a volume under the caller's id (a UUID).

        The same call again answers the same volume; another volume under
        this id or name is a Conflict. -> resources.Volume

        :param encryption: 'aes-256-xts' or 'none'; None: as the pool, or the
            source, says
        :param compression: 's2' or 'none'; None: as the pool says. What has
            a source is never compressed, and asking for it is refused
        :param source: {'snapshot': id} or {'volume': id} that it begins as,
            without a copy; of the same pool and no larger. The source may
            be deleted later. None: it begins empty
        """
        body = {'id': volume_id, 'name': name, 'pool': pool,
                'size_bytes': size_bytes}
        if encryption is not None:
            body['encryption'] = encryption
        if compression is not None:
            body['compression'] = compression
        if source is not None:
            body['source'] = source
        return resources.Volume.parse(self._call('POST', ['volumes'], body))

    def volume(self, volume_id):
        """Show a volume. -> resources.Volume, or NotFound"""
        return resources.Volume.parse(
            self._call('GET', ['volumes', volume_id]))

    def volumes(self, pool, name=None):
        """Iterate over the volumes of a pool, by id. -> resources.Volume

        With a name, over those of that name: one in each project.

        Each page is a call of its own: a volume made or deleted meanwhile
        may be in the list or not, any other is in it once.
        """
        query = {'pool': pool}
        if name is not None:
            query['name'] = name
        return self._list(['volumes'], resources.Volume, query)

    def grow_volume(self, volume_id, size_bytes):
        """Grow a volume to size_bytes (no-op at that size, never shrinks).

        -> resources.Volume
        """
        return resources.Volume.parse(
            self._call('PATCH', ['volumes', volume_id],
                       {'size_bytes': size_bytes}))

    def delete_volume(self, volume_id):
        """Delete a volume.

        NotFound; VolumeExported while a host may use it, VolumeHasSnapshots
        while there are some, VolumeInGroup while it is in one.
        """
        self._call('DELETE', ['volumes', volume_id])

    def flatten_volume(self, volume_id):
        """Have a clone let go of what it began as, copying in the background.

        Any other volume stays as it is.
        """
        self._call('POST', ['volumes', volume_id, 'flatten'])

    def revert_volume(self, volume_id, snapshot_id):
        """Make a volume what its newest snapshot shows, without a copy.

        VolumeExported while a host may use the volume, SnapshotNotNewest
        when there are newer ones. The state of the snapshot is REVERTING
        after the call when the owner of the volume did not do it while the
        API waited (some 15 s).
        """
        self._call('POST', ['volumes', volume_id, 'revert'],
                   {'snapshot': snapshot_id}, once=True)

    def limit_volume(self, volume_id, *, iops=0, bytes_per_second=0):
        """Bound what hosts may do; 0 is no bound. Replaces what was set."""
        self._call('PUT', ['volumes', volume_id, 'qos'],
                   {'iops': iops, 'bytes_per_second': bytes_per_second})

    def unlimit_volume(self, volume_id):
        """Let the bounds that the pool has for each volume count again."""
        self._call('DELETE', ['volumes', volume_id, 'qos'])

    def export_volume(self, volume_id, host_nqn):
        """Let a host use a volume. -> resources.Export"""
        return resources.Export.parse(
            self._call('PUT', ['volumes', volume_id, 'exports', host_nqn]))

    def unexport_volume(self, volume_id, host_nqn):
        """Take a volume from a host and close its connections.

        Fine when the host had no access; NotFound without the volume.
        """
        self._call('DELETE', ['volumes', volume_id, 'exports', host_nqn])

    def unexport_all(self, volume_id):
        """Take a volume from all hosts and close their connections."""
        self._call('DELETE', ['volumes', volume_id, 'exports'])

    def create_snapshot(self, snapshot_id, *, volume_id, name):
        """Take a snapshot of a volume under the caller's id (a UUID).

        The same call again answers the same snapshot; another one under this
        id or name is a Conflict. Its state is 'creating' when the owner of
        the volume did not take it while the API waited (some 15 s).
        -> resources.Snapshot
        """
        body = {'id': snapshot_id, 'volume': volume_id, 'name': name}
        return resources.Snapshot.parse(
            self._call('POST', ['snapshots'], body))

    def snapshot(self, snapshot_id):
        """Show a snapshot. -> resources.Snapshot, or NotFound"""
        return resources.Snapshot.parse(
            self._call('GET', ['snapshots', snapshot_id]))

    def snapshots(self):
        """Iterate over all snapshots, by id. -> resources.Snapshot"""
        return self._list(['snapshots'], resources.Snapshot)

    def volume_snapshots(self, volume_id, name=None):
        """Iterate over the snapshots of a volume, by name.

        With a name, over the one of that name. -> resources.Snapshot
        """
        return self._list(['volumes', volume_id, 'snapshots'],
                          resources.Snapshot,
                          {} if name is None else {'name': name})

    def delete_snapshot(self, snapshot_id):
        """Delete a snapshot. NotFound, or SnapshotExported while in use.

        It may be on show for some time yet when the owner of the volume does
        not let go of it at once; nothing more is needed to make it go.
        """
        self._call('DELETE', ['snapshots', snapshot_id])

    def export_snapshot(self, snapshot_id, host_nqn):
        """Let a host read a snapshot. -> resources.Export"""
        return resources.Export.parse(
            self._call('PUT', ['snapshots', snapshot_id, 'exports',
                               host_nqn]))

    def unexport_snapshot(self, snapshot_id, host_nqn):
        """Take a snapshot from a host and close its connections."""
        self._call('DELETE', ['snapshots', snapshot_id, 'exports', host_nqn])

    def unexport_snapshot_all(self, snapshot_id):
        """Take a snapshot from all hosts and close their connections."""
        self._call('DELETE', ['snapshots', snapshot_id, 'exports'])

    def create_group(self, group_id, *, name):
        """Make a group without volumes under the caller's id (a UUID).

        As for volumes, the same call again answers the same group.
        -> resources.Group
        """
        return resources.Group.parse(
            self._call('POST', ['groups'], {'id': group_id, 'name': name}))

    def group(self, group_id):
        """Show a group. -> resources.Group, or NotFound"""
        return resources.Group.parse(self._call('GET', ['groups', group_id]))

    def update_group(self, group_id, *, add=(), remove=()):
        """Put volumes (their ids) into a group, take others out of it.

        All of it happens, or nothing; what is so already stays so.
        VolumeInGroup when one to add is in another group.
        -> resources.Group
        """
        changes = {'add': list(add), 'remove': list(remove)}
        return resources.Group.parse(
            self._call('PATCH', ['groups', group_id],
                       {key: ids for key, ids in changes.items() if ids}))

    def delete_group(self, group_id):
        """Delete a group. NotFound; GroupNotEmpty unless it is empty."""
        self._call('DELETE', ['groups', group_id])

    def create_group_snapshot(self, snapshot_id, *, group_id, name):
        """Take a snapshot of all volumes of a group at one moment.

        As for snapshots, also in that its state may be 'creating'.
        -> resources.GroupSnapshot
        """
        body = {'id': snapshot_id, 'group': group_id, 'name': name}
        return resources.GroupSnapshot.parse(
            self._call('POST', ['group-snapshots'], body))

    def delete_group_snapshot(self, snapshot_id):
        """Delete a group snapshot with its snapshots.

        NotFound, or SnapshotExported while a host may read one of them.
        """
        self._call('DELETE', ['group-snapshots', snapshot_id])

    def _list(self, path, kind, query=None):
        """Iterate over a list, a call a page."""
        query = dict(query or {}, limit=PAGE)
        while True:
            page = resources.Page.parse(
                self._call('GET', path, query=query))
            yield from map(kind.parse, page.items)
            if not page.next:
                return
            query['cursor'] = page.next

    def _call(self, method, path, body=None, query=None, once=False):
        """Make one call; on a dead address go on to the next one.

        Only for calls that may be carried out twice: a connection that
        breaks does not tell whether the first address did it.

        :param path: segments below /v1, not yet percent-encoded
        :param once: let the cluster see to it that it is not done twice
        :returns: the decoded JSON answer, None when there is none
        """
        call = method + ' /v1/' + '/'.join(
            parse.quote(segment, safe='') for segment in path)
        if query:
            call += '?' + parse.urlencode(query)
        headers = {'Accept': 'application/json'}
        if once:
            headers['Idempotency-Key'] = str(uuid.uuid4())
        first, failures = self._current, []
        for step in range(len(self._addresses)):
            index = (first + step) % len(self._addresses)
            try:
                answer = self._send_as_known(self._addresses[index], call,
                                             body, headers)
            except (errors.Unreachable, errors.Unavailable) as exc:
                LOG.warning('%s', exc)
                failures.append(exc)
                continue
            self._current = index
            return answer
        if len(failures) == 1:
            raise failures[0]
        raise errors.Unreachable(
            '; '.join(str(failure) for failure in failures))

    def _send_as_known(self, address, call, body, headers):
        """Make the call at one address with the token that there is."""
        token = self._credentials.token()
        try:
            return self._send(address, call, body, headers, token)
        except errors.Denied as exc:
            newer = (self._credentials.renew(token) if exc.status == 401 else
                     None)
            if newer is None:
                raise
        return self._send(address, call, body, headers, newer)

    def _send(self, address, call, body, headers, token):
        """Make the call at one address with a token."""
        headers = dict(headers, Authorization='Bearer ' + _checked(token))
        method, path = call.split(' ', 1)
        began = time.monotonic()
        where = f'{call} at {address}'
        try:
            with requests.Session() as session:
                session.trust_env = False
                reply = session.request(
                    method, address + path, json=body, stream=True,
                    headers=headers,
                    timeout=(self._connect_timeout, self._timeout),
                    verify=self._verify, allow_redirects=False)
                content = _read(reply, where, began + self._timeout)
        except (requests.ConnectTimeout, requests.ConnectionError,
                requests.exceptions.ChunkedEncodingError) as exc:
            if _is_silence(exc):
                raise errors.TimedOut(f'{where}: no answer') from exc
            raise errors.Unreachable(f'{where}: {exc}') from exc
        except requests.Timeout as exc:
            raise errors.TimedOut(f'{where}: no answer within '
                                  f'{self._timeout:g} s') from exc
        except (requests.RequestException, OSError) as exc:
            # OSError: a CA file that is not there.
            raise errors.AshlarError(f'{where}: {exc}') from exc
        LOG.debug('%s: %d in %.3f s', where, reply.status_code,
                  time.monotonic() - began)
        return _decode(where, reply, content)


class _OneToken:
    """A token that nothing renews."""

    def __init__(self, token):
        self._token = token

    def token(self):
        return self._token

    def renew(self, refused):
        return None


def _checked(token):
    """The token, if it can be in a header."""
    # requests would put a header value that it refuses into its message.
    if not re.fullmatch(r'[\x21-\x7e]+', token or ''):
        raise ValueError('the API token is empty or has characters that do '
                         'not belong in a token')
    return token


def _base_url(url):
    parts = parse.urlsplit(url)
    if (parts.scheme not in ('http', 'https') or not parts.hostname or
            parts.path not in ('', '/') or parts.query or parts.fragment or
            parts.username is not None):
        raise ValueError('an API address looks like https://host:7443')
    return f'{parts.scheme}://{parts.netloc}'


def _read(reply, where, deadline):
    """The body of the reply, bounded in size and time."""
    content = bytearray()
    for piece in reply.iter_content(64 << 10):
        content += piece
        if len(content) > MAX_ANSWER_BYTES:
            raise errors.BadAnswer(f'{where}: the answer does not end')
        if time.monotonic() > deadline:
            raise errors.TimedOut(f'{where}: the answer came too slowly')
    return bytes(content)


def _is_silence(exc):
    """Whether it is a read timeout in the body, which requests wraps."""
    cause = exc.args[0] if exc.args else None
    return isinstance(cause, urllib3.exceptions.ReadTimeoutError)


def _decode(where, reply, content):
    kind = reply.headers.get('Content-Type', '').split(';')[0].strip()
    is_json = kind in ('application/json', 'application/problem+json')
    try:
        answer = json.loads(content) if is_json and content else None
    except ValueError as exc:
        raise errors.BadAnswer(f'{where}: the answer is not JSON') from exc
    if reply.status_code >= 400:
        problem = answer if isinstance(answer, dict) else {}
        raise errors.from_problem(where, reply.status_code, problem)
    if reply.status_code == 204:
        return None
    if reply.status_code not in (200, 201, 202) or answer is None:
        raise errors.BadAnswer(f'{where}: {reply.status_code} with {kind!r} '
                               'is no answer of the Ashlar API')
    return answer
