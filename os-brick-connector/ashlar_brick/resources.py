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

"""What the Ashlar API answers, as immutable values.

Only what callers use is taken over; members that are unknown here are left
alone, so that a newer API does not break an older client. What is used is
checked: a missing member or a wrong type is a BadAnswer, not a KeyError later.
Sizes are bytes. Shapes: components/schemas in restapi/api/openapi.yaml.
"""

import dataclasses

from ashlar_brick import errors


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The cluster that answers. `id` never changes."""

    id: str

    @classmethod
    def parse(cls, answer):
        return cls(id=_member(answer, 'id', str))


@dataclasses.dataclass(frozen=True)
class Pool:
    """A pool and what volumes can hold in it, redundancy taken off."""

    name: str
    code: str
    data: int
    parity: int
    domain: str
    encryption: str
    compression: str
    volumes: int
    total_bytes: int
    free_bytes: int
    rebuild_reserve_bytes: int
    provisioned_bytes: int

    @classmethod
    def parse(cls, answer):
        room = _member(answer, 'capacity', dict)
        return cls(name=_member(answer, 'name', str),
                   code=_member(answer, 'code', str),
                   data=_member(answer, 'data', int),
                   parity=_member(answer, 'parity', int),
                   domain=_member(answer, 'domain', str),
                   encryption=_member(answer, 'encryption', str),
                   compression=_member(answer, 'compression', str),
                   volumes=_member(answer, 'volumes', int),
                   total_bytes=_member(room, 'total_bytes', int),
                   free_bytes=_member(room, 'free_bytes', int),
                   rebuild_reserve_bytes=_member(
                       room, 'rebuild_reserve_bytes', int),
                   provisioned_bytes=_member(room, 'provisioned_bytes', int))


@dataclasses.dataclass(frozen=True)
class Volume:
    """A volume. `id` is also the UUID of its NVMe namespace.

    `group`: id of the group that it is in, or ''.
    """

    id: str
    name: str
    pool: str
    size_bytes: int
    encryption: str
    compression: str
    nqn: str
    hosts: tuple
    group: str

    @classmethod
    def parse(cls, answer):
        return cls(id=_member(answer, 'id', str),
                   name=_member(answer, 'name', str),
                   group=_optional(answer, 'group', ''),
                   pool=_member(answer, 'pool', str),
                   size_bytes=_member(answer, 'size_bytes', int),
                   encryption=_member(answer, 'encryption', str),
                   compression=_member(answer, 'compression', str),
                   nqn=_member(answer, 'nqn', str),
                   hosts=tuple(_member(answer, 'hosts', list)))


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A volume (its id) as it was.

    `state`: AVAILABLE, or one of those that pass: 'creating', REVERTING (its
    volume is becoming it again), 'deleting'.
    """

    AVAILABLE = 'available'
    REVERTING = 'reverting'

    id: str
    name: str
    volume: str
    state: str
    size_bytes: int
    hosts: tuple

    @classmethod
    def parse(cls, answer):
        return cls(id=_member(answer, 'id', str),
                   name=_member(answer, 'name', str),
                   volume=_member(answer, 'volume', str),
                   state=_member(answer, 'state', str),
                   size_bytes=_member(answer, 'size_bytes', int),
                   hosts=tuple(_member(answer, 'hosts', list)))


@dataclasses.dataclass(frozen=True)
class Group:
    """Volumes (their ids) that snapshots are taken of at one moment."""

    id: str
    name: str
    volumes: tuple

    @classmethod
    def parse(cls, answer):
        return cls(id=_member(answer, 'id', str),
                   name=_member(answer, 'name', str),
                   volumes=tuple(_member(answer, 'volumes', list)))


@dataclasses.dataclass(frozen=True)
class GroupSnapshot:
    """The volumes of a group as they were at one moment.

    `parts`: id of a volume -> id of its snapshot; `state`: as for those.
    """

    id: str
    group: str
    state: str
    parts: dict

    @classmethod
    def parse(cls, answer):
        parts = _member(answer, 'snapshots', list)
        return cls(id=_member(answer, 'id', str),
                   group=_member(answer, 'group', str),
                   state=_member(answer, 'state', str),
                   parts={_member(part, 'volume', str):
                          _member(part, 'snapshot', str) for part in parts})


@dataclasses.dataclass(frozen=True)
class Portal:
    """One address under which a node shows a volume to hosts."""

    transport: str
    address: str
    port: int

    @classmethod
    def parse(cls, answer):
        return cls(transport=_member(answer, 'transport', str),
                   address=_member(answer, 'address', str),
                   port=_member(answer, 'port', int))


@dataclasses.dataclass(frozen=True)
class Export:
    """How one host reaches a volume or snapshot. Present owner's portal first.
    """

    host: str
    nqn: str
    uuid: str
    portals: tuple

    @classmethod
    def parse(cls, answer):
        portals = tuple(map(Portal.parse, _member(answer, 'portals', list)))
        if not portals:
            raise errors.BadAnswer('the export names no portal')
        return cls(host=_member(answer, 'host', str),
                   nqn=_member(answer, 'nqn', str),
                   uuid=_member(answer, 'uuid', str),
                   portals=portals)


@dataclasses.dataclass(frozen=True)
class Page:
    """Part of a list. `next` is the cursor of the following one, or ''."""

    items: tuple
    next: str

    @classmethod
    def parse(cls, answer):
        items = tuple(_member(answer, 'items', list))
        return cls(items=items, next=_optional(answer, 'next', ''))


def _member(answer, name, kind):
    if not isinstance(answer, dict):
        raise errors.BadAnswer(f'expected an object with {name!r}, '
                               f'got {type(answer).__name__}')
    value = answer.get(name)
    # bool is an int to Python, not to JSON.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise errors.BadAnswer(f'{name!r} should be of type {kind.__name__}, '
                               f'got {type(value).__name__}')
    return value


def _optional(answer, name, default):
    """A member that may be missing; it is of the type of the default."""
    if isinstance(answer, dict) and name not in answer:
        return default
    return _member(answer, name, type(default))
