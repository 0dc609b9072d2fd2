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

"""An in-memory twin of the Ashlar API, for tests of its callers.

It keeps the rules of restapi/api/openapi.yaml for volumes, snapshots, groups,
exports, pools and the cluster, speaks HTTP on 127.0.0.1, and can misbehave on
request::

    with ApiTwin() as twin:
        client.Client([twin.url], twin.token)
        twin.misbehave('hang up after')    # the next call only

Several addresses share one cluster when given the same Cluster. Every request
and answer is held against the document; violations end up in
`twin.violations`, which the test asserts to be empty.
"""

import dataclasses
from http import server
import json
import socket
import threading
from urllib import parse
import uuid

from ashlar_brick.tests import contract

GiB = 1 << 30
CREATED = '2026-01-01T00:00:00Z'


class Problem(Exception):
    """An answer that is an error."""

    def __init__(self, status, code, detail, **more):
        super().__init__(detail)
        self.status = status
        self.body = {'type': f'urn:ashlar:problem:{code}', 'title': code,
                     'status': status, 'code': code, 'detail': detail,
                     'request_id': 'twin-1', **more}


@dataclasses.dataclass
class Cluster:
    """What the nodes of one cluster agree on.

    `hosts` are by id of volume or snapshot, `reverts` by idempotency key.
    While `owners` is False nobody serves volumes, so snapshots are neither
    taken nor let go of. A volume has at most `pins` snapshots.
    """

    id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    pools: dict = dataclasses.field(
        default_factory=lambda: {'default': 100 * GiB})
    used: dict = dataclasses.field(default_factory=dict)
    volumes: dict = dataclasses.field(default_factory=dict)
    snapshots: dict = dataclasses.field(default_factory=dict)
    groups: dict = dataclasses.field(default_factory=dict)
    group_snapshots: dict = dataclasses.field(default_factory=dict)
    owners: bool = True
    pins: int = 1024
    reverts: dict = dataclasses.field(default_factory=dict)
    hosts: dict = dataclasses.field(default_factory=dict)
    calls: list = dataclasses.field(default_factory=list)
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def show(self):
        return 200, {'id': self.id, 'epoch': 3, 'voters': [1, 2, 3],
                     'nodes': 3, 'devices': 3, 'pools': len(self.pools),
                     'created': CREATED}

    def show_pool(self, name):
        total = self.pools.get(name)
        if total is None:
            raise Problem(404, 'not_found', f'no pool {name}')
        used = self.used.get(name, 0)
        sizes = [v['size_bytes'] for v in self.volumes.values()
                 if v['pool'] == name]
        return 200, {
            'id': 1, 'name': name, 'code': 'replica', 'data': 1, 'parity': 1,
            'domain': 'node', 'chunk_size': 262144, 'stripe_unit': 16384,
            'relax': False, 'min_columns': 1, 'encryption': 'none',
            'compression': 'none',
            'provisioning': 'thin', 'overcommit_ratio': 0,
            'home': '', 'balance': True,
            'usable_fraction': 0.5,
            'domains': {'present': 3, 'needed': 2, 'chunks_per_domain': 1},
            'devices': [1, 2, 3], 'table': 0, 'volumes': len(sizes),
            'healing': {'moving': 0, 'degraded': 0, 'unknown': 0, 'down': [],
                        'moved_groups': 0, 'groups': 0, 'copied_bytes': 0},
            'created': CREATED,
            'capacity': {'total_bytes': total, 'used_bytes': used,
                         'returning_bytes': 0, 'free_bytes': total - used,
                         'provisioned_bytes': sum(sizes),
                         'reserved_bytes': 0,
                         'rebuild_reserve_bytes': total // 10}}

    def show_volume(self, volume_id):
        volume = self.volumes.get(volume_id)
        if volume is None:
            raise Problem(404, 'not_found', f'no volume {volume_id}')
        shown = dict(volume, hosts=sorted(self.hosts[volume_id]))
        shown.pop('source', None)
        return 200, shown

    def list_volumes(self, query):
        return page_of(self.volumes, self.show_volume, query, 'pool', 'name')

    def create_volume(self, body):
        if body['pool'] not in self.pools:
            raise Problem(404, 'not_found', 'no such pool', field='pool')
        if body['size_bytes'] > 1 << 50:
            raise Problem(400, 'invalid_field', 'at most 1 PiB',
                          field='size_bytes')
        old = self.volumes.get(body['id'])
        if old is not None:
            if any(old.get(key) != body[key] for key in body):
                raise Problem(409, 'conflict', 'another volume has this id')
            return 200, self.show_volume(body['id'])[1]
        begun = {'encryption': 'none', 'compression': 'none',
                 'provisioning': 'thin'}
        if 'source' in body:
            begun = self.begin_clone(body)
        self.volumes[body['id']] = dict(
            begun, **body, vuid=len(self.volumes) + 1,
            generation=1, health='ok', reasons=[], metadata={},
            read_only=False,
            nqn=f'nqn.2026-11.io.ashlar:{self.id[:8]}:vol:{body["id"]}',
            created=CREATED)
        self.hosts[body['id']] = set()
        return 201, self.show_volume(body['id'])[1]

    def begin_clone(self, body):
        """What a clone has from where it begins."""
        (kind, source_id), = body['source'].items()
        source = (self.volumes if kind == 'volume' else
                  self.snapshots).get(source_id)
        if source is None:
            raise Problem(400, 'invalid_field', f'no {kind} {source_id}',
                          field=f'source.{kind}')
        volume = self.volumes[source.get('volume', source_id)]
        if body['size_bytes'] < source['size_bytes']:
            raise Problem(400, 'invalid_field', 'the source is larger',
                          field='size_bytes')
        for name in ('pool', 'encryption'):
            if body.get(name, volume[name]) != volume[name]:
                raise Problem(422, 'not_supported', 'a clone shares blocks '
                              f'with its source in {volume[name]}',
                              field=name)
        # Of a volume as it is now, the API takes a snapshot out of sight.
        snapshot = source_id if kind == 'snapshot' else str(uuid.uuid4())
        if kind == 'volume':
            self.require_pin(volume['id'])
        return {'encryption': volume['encryption'], 'compression': 'none',
                'provisioning': 'thin',
                'parent': {'volume': volume['id'], 'snapshot': snapshot,
                           'pin': '1.1', 'size_bytes': source['size_bytes']}}

    def grow_volume(self, volume_id, body):
        volume = self.show_volume(volume_id)[1]
        if body['size_bytes'] < volume['size_bytes']:
            raise Problem(409, 'conflict', 'volumes do not shrink',
                          field='size_bytes')
        self.volumes[volume_id]['size_bytes'] = body['size_bytes']
        return self.show_volume(volume_id)

    def delete_volume(self, volume_id):
        hosts = self.show_volume(volume_id)[1]['hosts']
        if hosts:
            raise Problem(409, 'volume_exported', 'hosts may use it',
                          hosts=hosts)
        if any(one['volume'] == volume_id for one in self.snapshots.values()):
            raise Problem(409, 'volume_has_snapshots', 'delete them first')
        if 'group' in self.volumes[volume_id]:
            raise Problem(409, 'volume_in_group', 'take it out first')
        del self.volumes[volume_id], self.hosts[volume_id]
        return 204, None

    def limit_volume(self, volume_id, bounds):
        """Set the bounds of a volume, or with None let go of them."""
        self.show_volume(volume_id)
        for name, least in (('iops', 10), ('bytes_per_second', 1 << 20)):
            if 0 < (bounds or {}).get(name, 0) < least:
                raise Problem(400, 'invalid_field', f'at least {least}',
                              field=name)
        self.volumes[volume_id].pop('qos', None)
        if bounds is not None:
            self.volumes[volume_id]['qos'] = bounds
        return self.show_volume(volume_id)

    def flatten_volume(self, volume_id):
        """Note that it is asked for; the twin has no data to copy."""
        self.show_volume(volume_id)
        parent = self.volumes[volume_id].get('parent')
        if parent is not None:
            parent['flatten'] = {'done_bytes': 0,
                                 'total_bytes': parent['size_bytes']}
        return (200 if parent is None else 202), self.show_volume(volume_id)[1]

    def revert_volume(self, volume_id, body, key):
        """Note what the volume was made again; the twin has no data."""
        hosts = self.show_volume(volume_id)[1]['hosts']
        snapshot = self.snapshots.get(body['snapshot'])
        if snapshot is None or snapshot['volume'] != volume_id:
            raise Problem(400, 'invalid_field', 'no snapshot of the volume',
                          field='snapshot')
        if hosts and not body.get('force'):
            raise Problem(409, 'volume_exported', 'hosts may use it',
                          hosts=hosts)
        newest = [one for one in self.snapshots.values()
                  if one['volume'] == volume_id][-1]
        if newest is not snapshot and not body.get('force'):
            raise Problem(409, 'snapshot_not_newest', newest['name'])
        if key not in self.reverts:
            self.reverts[key] = body['snapshot']
        if not self.owners:
            snapshot['state'] = 'reverting'
        return (200 if self.owners else 202), self.show_volume(volume_id)[1]

    def show_snapshot(self, snapshot_id):
        snapshot = self.snapshots.get(snapshot_id)
        if snapshot is None:
            raise Problem(404, 'not_found', f'no snapshot {snapshot_id}')
        clones = [one for one in self.volumes.values()
                  if one.get('parent', {}).get('snapshot') == snapshot_id]
        return 200, dict(snapshot, hosts=sorted(self.hosts[snapshot_id]),
                         clones=len(clones))

    def list_snapshots(self, query, volume_id=None):
        found = self.snapshots
        if volume_id is not None:
            self.show_volume(volume_id)
            found = {key: one for key, one in found.items()
                     if one['volume'] == volume_id}
        return page_of(found, self.show_snapshot, query, 'name')

    def create_snapshot(self, body):
        volume = self.volumes.get(body['volume'])
        if volume is None:
            raise Problem(400, 'invalid_field', 'no such volume',
                          field='volume')
        old = self.snapshots.get(body['id'])
        if old is not None and any(old[key] != body[key] for key in body):
            raise Problem(409, 'conflict', 'another snapshot has this id')
        if old is None:
            self.require_pin(body['volume'])
            self.hosts[body['id']] = set()
            self.snapshots[body['id']] = dict(
                body, state='creating', size_bytes=volume['size_bytes'],
                nqn=f'nqn.2026-11.io.ashlar:snapshot:{body["id"]}',
                description='', metadata={}, created=CREATED)
        if self.owners:
            self.snapshots[body['id']]['state'] = 'available'
        shown = self.show_snapshot(body['id'])[1]
        if shown['state'] == 'creating':
            return 202, shown
        return (201 if old is None else 200), shown

    def require_pin(self, volume_id):
        """Refuse a snapshot too many, those of clones included."""
        pins = {key for key, one in self.snapshots.items()
                if one['volume'] == volume_id}
        pins |= {one['parent']['snapshot'] for one in self.volumes.values()
                 if one.get('parent', {}).get('volume') == volume_id}
        if len(pins) >= self.pins:
            raise Problem(409, 'snapshot_limit', 'no more are possible',
                          field='volume')

    def delete_snapshot(self, snapshot_id):
        hosts = self.show_snapshot(snapshot_id)[1]['hosts']
        if hosts:
            raise Problem(409, 'snapshot_exported', 'hosts may read it',
                          hosts=hosts)
        if 'group_snapshot' in self.snapshots[snapshot_id]:
            raise Problem(409, 'snapshot_in_group', 'delete all of it')
        if not self.owners:
            self.snapshots[snapshot_id]['state'] = 'deleting'
            return 202, self.show_snapshot(snapshot_id)[1]
        del self.snapshots[snapshot_id], self.hosts[snapshot_id]
        return 204, None

    def show_group(self, group_id):
        if group_id not in self.groups:
            raise Problem(404, 'not_found', f'no group {group_id}')
        return 200, dict(self.groups[group_id], volumes=[
            volume['id'] for volume in self.volumes.values()
            if volume.get('group') == group_id])

    def create_group(self, body):
        old = self.groups.get(body['id'])
        if any(one['name'] == body['name'] for one in self.groups.values()
               if one is not old) or (old and old['name'] != body['name']):
            raise Problem(409, 'conflict', 'another group has this id or name')
        self.groups[body['id']] = dict(body, description='', metadata={},
                                       created=CREATED)
        return (200 if old else 201), self.show_group(body['id'])[1]

    def update_group(self, group_id, body):
        self.show_group(group_id)
        for volume_id in body.get('add', ()):
            volume = self.volumes.get(volume_id)
            if volume is None:
                raise Problem(400, 'invalid_field', f'no volume {volume_id}',
                              field='add')
            if volume.get('group', group_id) != group_id:
                raise Problem(409, 'volume_in_group', volume['group'])
        for volume_id in body.get('add', ()):
            self.volumes[volume_id]['group'] = group_id
        for volume_id in body.get('remove', ()):
            if self.volumes.get(volume_id, {}).get('group') == group_id:
                del self.volumes[volume_id]['group']
        return self.show_group(group_id)

    def delete_group(self, group_id):
        if self.show_group(group_id)[1]['volumes'] or any(
                one['group'] == group_id
                for one in self.group_snapshots.values()):
            raise Problem(409, 'group_not_empty', 'take the volumes out')
        del self.groups[group_id]
        return 204, None

    def show_group_snapshot(self, snapshot_id):
        if snapshot_id not in self.group_snapshots:
            raise Problem(404, 'not_found', f'no group snapshot {snapshot_id}')
        parts = self.parts(snapshot_id)
        return 200, dict(
            self.group_snapshots[snapshot_id], state=parts[0]['state'],
            snapshots=[{'volume': part['volume'], 'snapshot': part['id'],
                        'size_bytes': part['size_bytes']} for part in parts])

    def parts(self, snapshot_id):
        """The snapshots of a group snapshot."""
        return [one for one in self.snapshots.values()
                if one.get('group_snapshot') == snapshot_id]

    def create_group_snapshot(self, body):
        known = body['id'] in self.group_snapshots
        if not known:
            if body['group'] not in self.groups:
                raise Problem(400, 'invalid_field', 'no such group',
                              field='group')
            volumes = self.show_group(body['group'])[1]['volumes']
            if not volumes:
                raise Problem(409, 'conflict', 'the group has no volumes',
                              field='group')
            for volume_id in volumes:
                self.require_pin(volume_id)
            for volume_id in volumes:
                part = str(uuid.uuid5(uuid.UUID(body['id']), volume_id))
                self.create_snapshot({'id': part, 'volume': volume_id,
                                      'name': body['name']})
                self.snapshots[part]['group_snapshot'] = body['id']
            self.group_snapshots[body['id']] = dict(
                body, description='', metadata={}, created=CREATED)
        shown = self.show_group_snapshot(body['id'])[1]
        if shown['state'] == 'creating':
            return 202, shown
        return (200 if known else 201), shown

    def delete_group_snapshot(self, snapshot_id):
        self.show_group_snapshot(snapshot_id)
        parts = self.parts(snapshot_id)
        hosts = [host for part in parts for host in self.hosts[part['id']]]
        if hosts:
            raise Problem(409, 'snapshot_exported', 'hosts may read it',
                          hosts=hosts)
        del self.group_snapshots[snapshot_id]
        for part in parts:
            del self.snapshots[part['id']], self.hosts[part['id']]
        return 204, None

    def export_volume(self, volume_id, host):
        volume = self.show_volume(volume_id)[1]
        return self.export(volume, host, {'volume': volume_id})

    def export_snapshot(self, snapshot_id, host):
        snapshot = self.show_snapshot(snapshot_id)[1]
        return self.export(snapshot, host, {'volume': snapshot['volume'],
                                            'snapshot': snapshot_id})

    def export(self, shown, host, names):
        status = 200 if host in self.hosts[shown['id']] else 201
        self.hosts[shown['id']].add(host)
        return status, dict(
            names, host=host, nqn=shown['nqn'], uuid=shown['id'],
            portals=[{'transport': 'tcp', 'address': f'192.0.2.{node}',
                      'port': 4420, 'node': node} for node in (1, 2, 3)])

    def unexport(self, show, resource_id, host=None):
        show(resource_id)
        self.hosts[resource_id] -= ({host} if host else
                                    self.hosts[resource_id])
        return 204, None

    def route(self, method, path, body, query, key):
        """Carry out a call. -> (status, answer), or Problem."""
        steps = [parse.unquote(step) for step in path.split('/')[2:]]
        match (method, steps):
            case ('GET', ['cluster']):
                return self.show()
            case ('GET', ['pools', name]):
                return self.show_pool(name)
            case ('GET', ['volumes']):
                return self.list_volumes(query)
            case ('POST', ['volumes']):
                return self.create_volume(body)
            case ('GET', ['volumes', volume_id]):
                return self.show_volume(volume_id)
            case ('PATCH', ['volumes', volume_id]):
                return self.grow_volume(volume_id, body)
            case ('DELETE', ['volumes', volume_id]):
                return self.delete_volume(volume_id)
            case ('POST', ['volumes', volume_id, 'flatten']):
                return self.flatten_volume(volume_id)
            case ('POST', ['volumes', volume_id, 'revert']):
                return self.revert_volume(volume_id, body, key)
            case ('PUT', ['volumes', volume_id, 'qos']):
                return self.limit_volume(volume_id, body)
            case ('DELETE', ['volumes', volume_id, 'qos']):
                return self.limit_volume(volume_id, None)
            case ('GET', ['volumes', volume_id, 'snapshots']):
                return self.list_snapshots(query, volume_id)
            case ('PUT', ['volumes', volume_id, 'exports', host]):
                return self.export_volume(volume_id, host)
            case ('DELETE', ['volumes', volume_id, 'exports', *host]):
                return self.unexport(self.show_volume, volume_id, *host)
            case ('POST', ['snapshots']):
                return self.create_snapshot(body)
            case ('GET', ['snapshots']):
                return self.list_snapshots(query)
            case ('GET', ['snapshots', snapshot_id]):
                return self.show_snapshot(snapshot_id)
            case ('DELETE', ['snapshots', snapshot_id]):
                return self.delete_snapshot(snapshot_id)
            case ('POST', ['groups']):
                return self.create_group(body)
            case ('GET', ['groups', group_id]):
                return self.show_group(group_id)
            case ('PATCH', ['groups', group_id]):
                return self.update_group(group_id, body)
            case ('DELETE', ['groups', group_id]):
                return self.delete_group(group_id)
            case ('POST', ['group-snapshots']):
                return self.create_group_snapshot(body)
            case ('DELETE', ['group-snapshots', snapshot_id]):
                return self.delete_group_snapshot(snapshot_id)
            case ('PUT', ['snapshots', snapshot_id, 'exports', host]):
                return self.export_snapshot(snapshot_id, host)
            case ('DELETE', ['snapshots', snapshot_id, 'exports', *host]):
                return self.unexport(self.show_snapshot, snapshot_id, *host)
        raise Problem(404, 'not_found', f'no {method} {path}')


def page_of(resources, show, query, *filters):
    """A page of two at most, so that tests meet several."""
    size = min(int(query.get('limit', 100)), 2)
    found = sorted(key for key, one in resources.items()
                   if key > query.get('cursor', '') and
                   all(one[name] == query.get(name, one[name])
                       for name in filters))
    page = {'items': [show(key)[1] for key in found[:size]]}
    if len(found) > size:
        page['next'] = found[size - 1]
    return 200, page


class ApiTwin:
    """One address of a (possibly shared) Cluster."""

    def __init__(self, cluster=None, tls=None):
        self.cluster = cluster or Cluster()
        self.token = 'ashlar-' + uuid.uuid4().hex
        self.violations = []
        self.released = threading.Event()
        self._contract = contract.Contract()
        self._moods = []
        self._server = _Server(('127.0.0.1', 0), _handler(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True,
                do_handshake_on_connect=False)
        scheme = 'https' if tls else 'http'
        self.url = f'{scheme}://127.0.0.1:{self._server.server_port}'
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self.stop()

    def stop(self):
        """Stop answering; connections are refused from now on."""
        self.released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def misbehave(self, how, after=0):
        """Do something odd at the next call, or after so many good ones.

        :param how: 'hang up before' or 'hang up after' carrying it out,
            'stay silent', 'unavailable' (503), 'redirect', 'not json',
            'not an object', 'too long'
        """
        self._moods = [None] * after + [how]

    def answer(self, method, path, body, headers, query):
        """-> (status, answer, mood) of one call."""
        with self.cluster.lock:
            mood = self._moods.pop(0) if self._moods else None
            self.cluster.calls.append(f'{method} {path}')
            if mood == 'hang up before':
                return None, None, mood
            try:
                self.violations += self._contract.request(method, path, body)
                if headers.get('Authorization') != f'Bearer {self.token}':
                    raise Problem(401, 'unauthenticated', 'wrong token')
                if mood == 'unavailable':
                    raise Problem(503, 'unavailable', 'no etcd')
                status, result = self.cluster.route(
                    method, path, body, query,
                    headers.get('Idempotency-Key'))
            except Problem as problem:
                status, result = problem.status, problem.body
            self.violations += self._contract.answer(method, path, status,
                                                     result)
        return status, result, mood


class _Server(server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def _handler(twin):
    class Handler(server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def log_message(self, *args):
            pass

        def _serve(self):
            length = int(self.headers.get('Content-Length') or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path, _mark, query = self.path.partition('?')
            status, result, mood = twin.answer(
                self.command, path, body, self.headers,
                dict(parse.parse_qsl(query)))
            if mood in ('hang up before', 'hang up after'):
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            if mood == 'stay silent':
                twin.released.wait()
                return
            self._write(status, result, mood)

        def _write(self, status, result, mood):
            content = b'' if result is None else json.dumps(result).encode()
            if mood == 'not json':
                content = b'{"id": '
            elif mood == 'not an object':
                content = b'[]'
            elif mood == 'too long':
                content = b' ' * (9 << 20)
            elif mood == 'redirect':
                status, content = 307, b''
            self.send_response(status)
            if mood == 'redirect':
                self.send_header('Location', 'http://127.0.0.1:1/')
            if content:
                kind = 'problem+json' if status >= 400 else 'json'
                self.send_header('Content-Type', f'application/{kind}')
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            try:
                self.wfile.write(content)
            except OSError:  # the client had enough
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    return Handler
