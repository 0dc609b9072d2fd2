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

"""What a volume type asks of the back end for each of its volumes.

========================================  ====================================
QoS spec (consumer back-end or both)      bound of Ashlar
========================================  ====================================
total_iops_sec                            iops
total_bytes_sec                           bytes_per_second
total_{iops,bytes}_sec_per_gb             the same, times the size in GiB
total_{iops,bytes}_sec_per_gb_min, _max   where that begins and where it ends
========================================  ====================================

The names, and what they mean together, are those that Cinder has for
front-end QoS, so that a spec with the consumer ``both`` says one thing. A
back-end spec with a name that is not in the table is refused: a bound that
nobody keeps is worse than none. Under ``both`` Nova keeps all of them.

The extra specs ``ashlar:encryption`` (``aes-256-xts`` or ``none``) and
``ashlar:compression`` (``s2`` or ``none``) go before what the pool says. A
volume that begins as another one or as a snapshot shares blocks with it, so
it is encrypted as that one is, whatever its type says. Whether what is
written to it is compressed is its own type's to say.
"""

import dataclasses

from cinder import exception
from cinder.i18n import _
from cinder.volume import volume_types

ENCRYPTION = 'ashlar:encryption'
CIPHERS = ('aes-256-xts', 'none')
COMPRESSION = 'ashlar:compression'
PACKERS = ('s2', 'none')

# QoS spec -> (bound of Ashlar, least that Ashlar takes)
LIMITS = {'total_iops_sec': ('iops', 10),
          'total_bytes_sec': ('bytes_per_second', 1 << 20)}
# Only together: without the first, Cinder gives the others no meaning.
SCALED = ('_per_gb', '_per_gb_min', '_max')


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What the hosts of a volume may do, 0 is no bound."""

    iops: int = 0
    bytes_per_second: int = 0


def bounds(type_id, size_gib):
    """The bounds for a volume of this type and size.

    :returns: Bounds, or None where the type sets none
    :raises InvalidQoSSpecs: the type has specs that cannot be kept
    """
    if type_id is None:
        return None
    qos = volume_types.get_volume_type_qos_specs(type_id)['qos_specs']
    if not qos or qos['consumer'] == 'front-end':
        return None
    specs = qos['specs']
    unknown = set(specs).difference(_known(specs))
    if unknown and qos['consumer'] == 'back-end':
        raise exception.InvalidQoSSpecs(
            reason=_('the Ashlar back end has no bound for %s') %
            ', '.join(sorted(unknown)))
    found = Bounds(**{bound: _limit(specs, name, least, size_gib)
                      for name, (bound, least) in LIMITS.items()})
    return found if found != Bounds() else None


def _known(specs):
    for name in LIMITS:
        yield name
        if name + '_per_gb' in specs:
            yield from (name + suffix for suffix in SCALED)


def _limit(specs, name, least, size_gib):
    """One bound, as Cinder works it out for Nova; 0 where there is none."""
    per_gb = _number(specs, name + '_per_gb')
    if per_gb is None:
        limit = _number(specs, name) or 0
    else:
        limit = max(per_gb * size_gib, _number(specs, name + '_per_gb_min', 0))
        limit = min(limit, _number(specs, name + '_max', limit))
    if 0 < limit < least:
        raise exception.InvalidQoSSpecs(
            reason=_('%(name)s is %(limit)d for %(size)d GiB, but at least '
                     '%(least)d is possible')
            % {'name': name, 'limit': limit, 'size': size_gib,
               'least': least})
    return limit


def _number(specs, name, default=None):
    text = specs.get(name)
    if text is None:
        return default
    if not str(text).isdecimal():
        raise exception.InvalidQoSSpecs(
            reason=_('%(name)s should be a number, not %(text)s')
            % {'name': name, 'text': text})
    return int(text)


def encryption(type_id):
    """How volumes of this type are encrypted; None: as their pool says."""
    return _choice(type_id, ENCRYPTION, CIPHERS)


def compression(type_id):
    """How volumes of this type are compressed; None: as their pool says."""
    return _choice(type_id, COMPRESSION, PACKERS)


def _choice(type_id, spec, known):
    """What a type says by an extra spec that has a few values, or None."""
    if type_id is None:
        return None
    wanted = volume_types.get_volume_type_extra_specs(type_id).get(spec)
    if wanted is not None and wanted not in known:
        raise exception.InvalidVolumeType(
            reason=_('%(spec)s is %(value)s, but can be %(known)s')
            % {'spec': spec, 'value': wanted, 'known': ' or '.join(known)})
    return wanted
