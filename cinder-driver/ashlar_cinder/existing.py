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

"""Volumes and snapshots that were there before Cinder.

They keep their id, which is the UUID that hosts know them by; Cinder
remembers it, as the `_name_id` of a volume and the `provider_id` of a
snapshot. So nothing has to be renamed, and nothing is left to do when they go
out of Cinder's hands.
"""

import math
import uuid

from oslo_utils import units

from ashlar_brick import errors
from ashlar_cinder import faults
from cinder import context as cinder_context
from cinder import exception
from cinder import objects
from cinder.i18n import _


def id_of(snapshot):
    """The id that a snapshot of Cinder has in the API."""
    return snapshot.provider_id or snapshot.id


def find(reference, by_id, by_name):
    """What a reference means.

    :param reference: {'source-id': UUID} or {'source-name': name}
    :param by_id: UUID -> resource, or errors.NotFound
    :param by_name: name -> iterable of the resources of that name
    :returns: the resource, or None
    :raises ManageExistingInvalidReference: the reference is no such thing,
        or means several
    """
    name, resource_id = (reference.get('source-name'),
                         reference.get('source-id'))
    with faults.as_cinder_errors():
        if resource_id is not None:
            try:
                return by_id(resource_id) if _is_uuid(resource_id) else None
            except errors.NotFound:
                return None
        if not isinstance(name, str) or not name:
            raise _bad(reference, _('it needs source-name or source-id'))
        named = list(by_name(name))
    if len(named) > 1:
        raise _bad(reference, _('several projects have a volume of this '
                                'name; use source-id'))
    return named[0] if named else None


def volume(api, pool, reference):
    """The volume of a pool that a reference means."""
    found = find(reference, api.volume,
                 lambda name: api.volumes(pool, name=name))
    if found is None or found.pool != pool:
        raise _bad(reference, _('no such volume in pool %s') % pool)
    return found


def snapshot(api, volume_id, reference):
    """The snapshot of a volume that a reference means."""
    found = find(reference, api.snapshot,
                 lambda name: api.volume_snapshots(volume_id, name=name))
    if found is None or found.volume != volume_id:
        raise _bad(reference, _('volume %s has no such snapshot') % volume_id)
    return found


def require_unused(found, reference):
    """Refuse what a host may use."""
    if found.hosts:
        raise _bad(reference,
                   _('hosts may use it: %s') % ', '.join(found.hosts))


def require_available(found, reference):
    """Refuse a snapshot that is not there yet, or not for long."""
    if found.state != found.AVAILABLE:
        raise _bad(reference, _('it is %s') % found.state)


def is_managed_volume(volume_id):
    """Whether a volume of Cinder, whoever serves it, is that of the API."""
    admin = cinder_context.get_admin_context()
    if objects.VolumeList.get_all(admin, filters={'_name_id': volume_id}):
        return True
    try:
        same = objects.Volume.get_by_id(admin, volume_id)
    except exception.VolumeNotFound:
        return False
    return same.name_id == volume_id


def is_shared(volume):
    """Whether another volume of Cinder is the same one of the API.

    A migration that was cut off while the volume and its copy changed places
    leaves both with the id of the copy.
    """
    admin = cinder_context.get_admin_context()
    same = objects.VolumeList.get_all(admin,
                                      filters={'_name_id': volume.name_id})
    return any(one.id != volume.id for one in same)


def is_managed_snapshot(snapshot_id):
    """Whether a snapshot of Cinder is that of the API."""
    admin = cinder_context.get_admin_context()
    if objects.SnapshotList.get_all(admin, {'provider_id': snapshot_id}):
        return True
    try:
        same = objects.Snapshot.get_by_id(admin, snapshot_id)
    except exception.SnapshotNotFound:
        return False
    return not same.provider_id


def volume_entry(found, cinder_id):
    """A line of the list of volumes that Cinder could take over.

    :param cinder_id: id of the volume in Cinder that it is already, or None
    """
    return dict(_entry(found, cinder_id),
                extra_info={'name': found.name, 'pool': found.pool})


def snapshot_entry(found, cinder_id):
    """A line of the list of snapshots that Cinder could take over."""
    entry = dict(_entry(found, cinder_id), extra_info={'name': found.name},
                 source_reference={'source-id': found.volume})
    if entry['safe_to_manage'] and found.state != found.AVAILABLE:
        entry.update(safe_to_manage=False,
                     reason_not_safe=_('it is %s') % found.state)
    return entry


def _entry(found, cinder_id):
    reason = None
    if cinder_id:
        reason = _('already managed')
    elif found.hosts:
        reason = _('hosts may use it')
    return {'reference': {'source-id': found.id},
            'size': whole_gib(found.size_bytes),
            'safe_to_manage': reason is None,
            'reason_not_safe': reason,
            'cinder_id': cinder_id}


def whole_gib(size_bytes):
    """Size in GiB, rounded up."""
    return math.ceil(size_bytes / units.Gi)


def _bad(reference, reason):
    return exception.ManageExistingInvalidReference(existing_ref=reference,
                                                    reason=reason)


def _is_uuid(text):
    try:
        return str(uuid.UUID(text)) == text
    except (ValueError, TypeError, AttributeError):
        return False
