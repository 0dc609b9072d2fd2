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

"""Taking over volumes and snapshots that were there, and letting go of them.

What is taken over keeps its id and its name, see module existing.
"""

from oslo_log import log as logging
from oslo_utils import units

from ashlar_cinder import existing
from ashlar_cinder import faults
from ashlar_cinder import policy
from cinder import exception
from cinder.i18n import _
from cinder.volume import volume_utils

LOG = logging.getLogger(__name__)


class ManageDriver:
    """The calls of Cinder that are about managing; a part of AshlarDriver."""

    def manage_existing_get_size(self, volume, existing_ref):
        """Size in GiB, rounded up: managing grows the volume to it."""
        found = existing.volume(self._api, self._pool_of(volume),
                                existing_ref)
        return existing.whole_gib(found.size_bytes)

    def manage_existing(self, volume, existing_ref):
        """Take over a volume of the same pool that no host may use.

        :param existing_ref: {'source-id': UUID} or {'source-name': name}
        """
        found = existing.volume(self._api, self._pool_of(volume),
                                existing_ref)
        existing.require_unused(found, existing_ref)
        if (found.id != volume.name_id and
                existing.is_managed_volume(found.id)):
            raise exception.ManageExistingAlreadyManaged(
                volume_ref=found.id)
        wanted = policy.encryption(volume.volume_type_id)
        if wanted not in (None, found.encryption):
            raise exception.ManageExistingVolumeTypeMismatch(
                reason=_('its encryption is %s') % found.encryption)
        wanted = policy.compression(volume.volume_type_id)
        if wanted not in (None, found.compression):
            raise exception.ManageExistingVolumeTypeMismatch(
                reason=_('its compression is %s') % found.compression)
        size = existing.whole_gib(found.size_bytes)
        bounds = policy.bounds(volume.volume_type_id, size)
        with faults.as_cinder_errors():
            self._api.grow_volume(found.id, size * units.Gi)
            if bounds is not None:
                self._limit(found.id, bounds)
        return {'_name_id': found.id}

    def unmanage(self, volume):
        """Leave the volume to others. Nothing on it is Cinder's."""
        LOG.info('Volume %s stays where it is, outside of Cinder.',
                 volume.name_id)

    def get_manageable_volumes(self, cinder_volumes, marker, limit, offset,
                               sort_keys, sort_dirs):
        known = {volume.name_id: volume.id for volume in cinder_volumes}
        entries = [existing.volume_entry(volume, known.get(volume.id))
                   for volume in self._volumes()]
        return volume_utils.paginate_entries_list(
            entries, marker, limit, offset, sort_keys, sort_dirs)

    def manage_existing_snapshot_get_size(self, snapshot, existing_ref):
        """Size in GiB, rounded up."""
        found = existing.snapshot(self._api, snapshot.volume.name_id,
                                  existing_ref)
        return existing.whole_gib(found.size_bytes)

    def manage_existing_snapshot(self, snapshot, existing_ref):
        """Take over a snapshot of the volume that no host may read.

        :param existing_ref: {'source-id': UUID} or {'source-name': name}
        """
        found = existing.snapshot(self._api, snapshot.volume.name_id,
                                  existing_ref)
        existing.require_unused(found, existing_ref)
        existing.require_available(found, existing_ref)
        if found.id != snapshot.id and existing.is_managed_snapshot(found.id):
            raise exception.ManageExistingAlreadyManaged(
                volume_ref=found.id)
        return {'provider_id': found.id}

    def unmanage_snapshot(self, snapshot):
        """Leave the snapshot to others. Nothing on it is Cinder's."""
        LOG.info('Snapshot %s stays where it is, outside of Cinder.',
                 existing.id_of(snapshot))

    def get_manageable_snapshots(self, cinder_snapshots, marker, limit,
                                 offset, sort_keys, sort_dirs):
        known = {existing.id_of(snapshot): snapshot.id
                 for snapshot in cinder_snapshots}
        volumes = {volume.id for volume in self._volumes()}
        with faults.as_cinder_errors():
            entries = [existing.snapshot_entry(found, known.get(found.id))
                       for found in self._api.snapshots()
                       if found.volume in volumes]
        return volume_utils.paginate_entries_list(
            entries, marker, limit, offset, sort_keys, sort_dirs)

    def _volumes(self):
        """All volumes of the pools of this back end, Cinder's and others."""
        with faults.as_cinder_errors():
            return [volume for pool in self.configuration.ashlar_pools
                    for volume in self._api.volumes(pool)]
