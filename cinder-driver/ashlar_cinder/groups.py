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

"""Groups of volumes that snapshots are taken of at one moment.

=======================  ====================================================
Cinder                   Ashlar API
=======================  ====================================================
group                    group with id = ``group.id``
group snapshot           group snapshot with id = ``group_snapshot.id``
snapshot in one          its part; the id is the ``provider_id``
volumes of a new group   clones of the parts of the group snapshot, each under
                         the id that Cinder has for it
=======================  ====================================================

Only groups whose type has ``consistent_group_snapshot_enabled='<is> True'``
are groups of the API. What is raised for all others (NotImplementedError) has
Cinder go on by itself, with one volume after the other.
"""

import uuid

from oslo_log import log as logging

from ashlar_brick import errors
from ashlar_brick import resources
from ashlar_cinder import faults
from cinder import exception
from cinder.i18n import _
from cinder.objects import fields
from cinder.volume import volume_utils

LOG = logging.getLogger(__name__)


class GroupDriver:
    """The calls of Cinder that are about groups; a part of AshlarDriver."""

    def create_group(self, context, group):
        _require_consistent(group)
        with faults.as_cinder_errors():
            self._api.create_group(group.id, name=_name(group.id))

    def update_group(self, context, group, add_volumes=None,
                     remove_volumes=None):
        """Put volumes, attached or not, into the group or take them out."""
        _require_consistent(group)
        with faults.as_cinder_errors():
            self._api.update_group(
                group.id,
                add=[volume.name_id for volume in add_volumes or ()],
                remove=[volume.name_id for volume in remove_volumes or ()])
        return None, None, None

    def delete_group(self, context, group, volumes):
        """Delete a group with its volumes; what is not there is deleted.

        When one volume stays, because a host may use it, say, all go to
        `error`: Cinder can delete the group once more.
        """
        _require_consistent(group)
        with faults.as_cinder_errors():
            # That of a cinder-volume that was killed in the middle.
            _ignore_missing(self._api.delete_group_snapshot,
                            _moment_of(group))
            _ignore_missing(self._empty, group.id)
        for volume in volumes:
            self.delete_volume(volume)
        with faults.as_cinder_errors():
            _ignore_missing(self._api.delete_group, group.id)
        return None, None

    def _empty(self, group_id):
        """Take all volumes out of a group.

        Of one that a call put there which was cut off Cinder does not know.
        """
        inside = self._api.group(group_id).volumes
        self._api.update_group(group_id, remove=list(inside))

    def create_group_snapshot(self, context, group_snapshot, snapshots):
        """Take snapshots of all volumes of the group at one moment."""
        _require_consistent(group_snapshot)
        with faults.as_cinder_errors():
            taken = self._take(group_snapshot.id, group_snapshot.group_id,
                               [one.volume.name_id for one in snapshots])
        return ({'status': fields.GroupSnapshotStatus.AVAILABLE},
                [{'id': one.id, 'status': fields.SnapshotStatus.AVAILABLE,
                  'provider_id': taken.parts[one.volume.name_id]}
                 for one in snapshots])

    def _take(self, snapshot_id, group_id, volume_ids):
        """Take a group snapshot, of these volumes and now, or none."""
        taken = self._api.create_group_snapshot(
            snapshot_id, group_id=group_id, name=f'group-{snapshot_id}')
        reason = None
        if taken.state != resources.Snapshot.AVAILABLE:
            # It would be of some later moment. Nobody would look for it.
            reason = _('not all volumes of group %s are served at present, '
                       'so no snapshot was taken') % group_id
        elif set(taken.parts) != set(volume_ids):
            reason = _('group %s has other volumes than Cinder '
                       'knows of, so no snapshot was taken') % group_id
        if reason is not None:
            self._api.delete_group_snapshot(snapshot_id)
            raise exception.SnapshotUnavailable(data=reason)
        return taken

    def delete_group_snapshot(self, context, group_snapshot, snapshots):
        """Delete a group snapshot; one that is not there is deleted.

        Volumes that began as one of its snapshots live on.
        """
        _require_consistent(group_snapshot)
        with faults.as_cinder_errors():
            _ignore_missing(self._api.delete_group_snapshot,
                            group_snapshot.id)
        return None, None

    def create_group_from_src(self, context, group, volumes,
                              group_snapshot=None, snapshots=None,
                              source_group=None, source_vols=None):
        """Make a group of volumes that begin as those of another one.

        :param snapshots: those that the volumes begin as, in their order; or
        :param source_vols: volumes that they begin as, all at one moment
        """
        _require_consistent(group)
        self.create_group(context, group)
        if group_snapshot is not None:
            for volume, snapshot in zip(volumes, snapshots, strict=True):
                self.create_volume_from_snapshot(volume, snapshot)
            return None, None
        moment = _moment_of(group)
        with faults.as_cinder_errors():
            taken = self._take(moment, source_group.id,
                               [volume.name_id for volume in source_vols])
        for volume, source in zip(volumes, source_vols, strict=True):
            self._create(volume, {'snapshot': taken.parts[source.name_id]})
        with faults.as_cinder_errors():
            self._api.delete_group_snapshot(moment)
        return None, None


def of_volume(volume):
    """Id of the group of the API that a volume of Cinder is in, or None."""
    if volume.group_id is None:
        return None
    consistent = volume_utils.is_group_a_cg_snapshot_type(volume.group)
    return volume.group_id if consistent else None


def delete_volume(api, volume_id):
    """Delete a volume, which in Cinder is in no group.

    A call that was cut off may have left it in one that Cinder made; one that
    somebody else made keeps it, and VolumeInGroup says so.
    """
    try:
        api.delete_volume(volume_id)
    except errors.VolumeInGroup:
        group_id = api.volume(volume_id).group
        if not group_id or api.group(group_id).name != _name(group_id):
            raise
        api.update_group(group_id, remove=[volume_id])
        api.delete_volume(volume_id)


def _require_consistent(group):
    """Leave other groups (or group snapshots) to Cinder."""
    if not volume_utils.is_group_a_cg_snapshot_type(group):
        raise NotImplementedError()


def _name(group_id):
    return f'group-{group_id}'


def _moment_of(group):
    """Id of the group snapshot that a group made from another begins as.

    It is gone as soon as the group is made.
    """
    return str(uuid.uuid5(uuid.UUID(group.id), 'source'))


def _ignore_missing(call, resource_id, **kwargs):
    try:
        call(resource_id, **kwargs)
    except errors.NotFound:
        LOG.info('Group or group snapshot %s is not there (any more).',
                 resource_id)
