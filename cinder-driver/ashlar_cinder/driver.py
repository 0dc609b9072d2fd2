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

"""Cinder volume driver for Ashlar block storage.

Volumes are served over NVMe/TCP by every storage node, one subsystem (NQN) a
volume. The driver hands out plain ``nvmeof`` connection information, so an
unpatched Nova attaches with os-brick's own connector; a host that says it has
ours (ashlar_brick.connector) is told to use that one.

==================  ====================================================
Cinder              Ashlar API
==================  ====================================================
volume              volume with id = ``volume.name_id`` and the same UUID
                    in its NVMe namespace; name = ``volume.name``,
                    unless the volume was there before Cinder
snapshot            snapshot with id = ``snapshot.id``, or
                    ``snapshot.provider_id`` if it was there before
group               group with id = ``group.id`` (module groups)
``host@backend#p``  pool p
attached host       export of the volume to ``connector['nqn']``; of the
                    snapshot, for a backup
volume type         capabilities of the pool; bounds, encryption and
                    compression of the volume (module policy)
==================  ====================================================

The driver keeps nothing: no file, no lock, no cache beyond the id of the
cluster. Every call of the API is idempotent, so a call that Cinder repeats,
or that a killed cinder-volume left half-way, comes out the same.
"""

from urllib import parse

from keystoneauth1 import exceptions as keystone
from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import excutils
from oslo_utils import units

from ashlar_brick import client
from ashlar_brick import connector as ashlar_connector
from ashlar_brick import errors
from ashlar_cinder import existing
from ashlar_cinder import faults
from ashlar_cinder import groups
from ashlar_cinder import login
from ashlar_cinder import managing
from ashlar_cinder import options
from ashlar_cinder import policy
from cinder import exception
from cinder import interface
from cinder.common import constants
from cinder.i18n import _
from cinder.volume import configuration
from cinder.volume import driver
from cinder.volume import volume_utils

LOOPBACK = ('127.0.0.1', '::1', 'localhost')

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
CONF.register_opts(options.OPTS, group=configuration.SHARED_CONF_GROUP)


@interface.volumedriver
class AshlarDriver(managing.ManageDriver, groups.GroupDriver,
                   driver.VolumeDriver):
    """Volumes of an Ashlar cluster, attached over NVMe/TCP.

    Version history:

    .. code-block:: none

        0.1.0 - Create, delete, extend, attach, detach, statistics
        0.2.0 - Multi-attach, manage and unmanage, retype and migration
                where nothing has to be copied, active-active, a connector
                of our own
        0.3.0 - Snapshots: take, delete, manage, attach for a backup; QoS
                and encryption by volume type
        0.4.0 - Revert to snapshot
        0.5.0 - Volumes from snapshots and from volumes, without a copy
        0.6.0 - Login with Keystone
        0.7.0 - Groups with consistent snapshots; clones that are flattened
        0.8.0 - Compression by volume type
        0.9.0 - A full pool takes no new volumes, room for a rebuild stays;
                nothing is lost or left over when image copies and
                migrations are cut off; clones are compressed
    """

    VERSION = '0.9.0'
    VENDOR = 'Ashlar'
    CI_WIKI_NAME = 'Ashlar_CI'
    # No state, no lock of its own: any service may make any call.
    SUPPORTS_ACTIVE_ACTIVE = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(options.OPTS)
        self._api = None
        self._cluster_id = None

    @staticmethod
    def get_driver_options():
        return options.OPTS + driver.VolumeDriver._get_oslo_driver_opts(
            'driver_ssl_cert_path', 'max_over_subscription_ratio',
            'reserved_percentage')

    def do_setup(self, context):
        """Make the API client from the options; calls nothing yet."""
        conf = self.configuration
        if not conf.ashlar_pools:
            raise exception.InvalidConfigurationValue(
                option='ashlar_pools', value=conf.ashlar_pools)
        try:
            self._api = client.Client(
                conf.ashlar_api_urls, self._credentials(),
                ca_file=conf.driver_ssl_cert_path,
                connect_timeout=conf.ashlar_api_connect_timeout,
                timeout=conf.ashlar_api_timeout)
        except ValueError as exc:
            msg = _('ashlar_api_urls or ashlar_api_token cannot be used: '
                    '%s') % exc
            raise exception.VolumeDriverException(message=msg) from exc
        if conf.ashlar_use_connector:
            # For image transfers of this very service.
            ashlar_connector.register()

    def _credentials(self):
        """A token of Ashlar's own, or a user of Keystone."""
        conf = self.configuration
        try:
            user = login.from_options(CONF, conf.config_group,
                                      conf.ashlar_api_timeout)
        except keystone.ClientException as exc:
            msg = _('the options to log in with Keystone cannot be used: '
                    '%s') % exc
            raise exception.VolumeDriverException(message=msg) from exc
        if user is not None and conf.ashlar_api_token:
            msg = _('both ashlar_api_token and auth_type are set; take one '
                    'away')
            raise exception.VolumeDriverException(message=msg)
        return user or conf.ashlar_api_token

    def check_for_setup_error(self):
        """See that the cluster answers, likes the token, has the pools."""
        for url in self._api.addresses:
            parts = parse.urlsplit(url)
            if parts.scheme == 'http' and parts.hostname not in LOOPBACK:
                LOG.warning('%s is not encrypted: the token travels in the '
                            'clear. Use https.', url)
        with faults.as_cinder_errors():
            self._cluster_id = self._api.cluster().id
            for name in self.configuration.ashlar_pools:
                self._api.pool(name)

    def create_volume(self, volume):
        self._create(volume)

    def create_volume_from_snapshot(self, volume, snapshot):
        """Begin a volume, perhaps a larger one, as the snapshot."""
        self._create(volume, {'snapshot': existing.id_of(snapshot)})

    def create_cloned_volume(self, volume, src_vref):
        """Begin a volume, perhaps a larger one, as the other one is now.

        Serves image volumes as well (cinder:// locations, the image cache):
        Cinder finds those by itself.
        """
        self._create(volume, {'volume': src_vref.name_id})

    def _create(self, volume, source=None):
        """Create a volume with what its type asks for."""
        bounds = policy.bounds(volume.volume_type_id, volume.size)
        encryption = policy.encryption(volume.volume_type_id)
        compression = policy.compression(volume.volume_type_id)
        group_id = groups.of_volume(volume)
        with faults.as_cinder_errors():
            self._api.create_volume(volume.name_id, name=volume.name,
                                    pool=self._pool_of(volume),
                                    size_bytes=volume.size * units.Gi,
                                    encryption=encryption,
                                    compression=compression, source=source)
            try:
                if bounds is not None:
                    self._limit(volume.name_id, bounds)
                if group_id is not None:
                    self._api.update_group(group_id, add=[volume.name_id])
                if source and self.configuration.ashlar_flatten_clones:
                    self._api.flatten_volume(volume.name_id)
            except errors.AshlarError:
                # Cinder may go on to another back end, and forget this one.
                with excutils.save_and_reraise_exception():
                    groups.delete_volume(self._api, volume.name_id)

    def _pool_of(self, volume):
        """The pool that the scheduler chose for a volume."""
        return (volume_utils.extract_host(volume.host, level='pool') or
                self.configuration.ashlar_pools[0])

    def _limit(self, volume_id, bounds):
        """Set the bounds of a volume; None: what the pool says."""
        if bounds is None:
            self._api.unlimit_volume(volume_id)
        else:
            self._api.limit_volume(volume_id, iops=bounds.iops,
                                   bytes_per_second=bounds.bytes_per_second)

    def delete_volume(self, volume):
        """Delete a volume; one that is not there counts as deleted.

        A volume that a host may still use is not deleted: Cinder believes it
        detached, and when the two disagree the data stays. The same with a
        snapshot that Cinder does not know of. Nor is one that another volume
        of Cinder is as well.
        """
        if existing.is_shared(volume):
            LOG.warning('Volume %(id)s of Cinder is forgotten, but not '
                        'deleted: a migration that was cut off has left '
                        'another one that is the same, %(name_id)s.',
                        {'id': volume.id, 'name_id': volume.name_id})
            return
        with faults.as_cinder_errors():
            try:
                groups.delete_volume(self._api, volume.name_id)
            except errors.NotFound:
                LOG.info('Volume %s is not there (any more), nothing to '
                         'delete.', volume.name_id)

    def extend_volume(self, volume, new_size):
        """Grow a volume, attached or not, to new_size GiB."""
        before = policy.bounds(volume.volume_type_id, volume.size)
        bounds = policy.bounds(volume.volume_type_id, new_size)
        with faults.as_cinder_errors():
            self._api.grow_volume(volume.name_id, new_size * units.Gi)
            if bounds != before:
                self._limit(volume.name_id, bounds)

    def get_pool(self, volume):
        """The pool of a volume, also of one whose host names none."""
        pool = volume_utils.extract_host(volume.host, level='pool')
        if pool is None:
            with faults.as_cinder_errors():
                pool = self._api.volume(volume.name_id).pool
        return pool

    # Attaching. Access is a list of host NQNs for each volume, kept by the
    # cluster, so there is nothing to export before a host is known.

    def create_export(self, context, volume, connector):
        pass

    def ensure_export(self, context, volume):
        pass

    def remove_export(self, context, volume):
        pass

    def validate_connector(self, connector):
        """Refuse a host that os-brick found no NVMe host NQN on."""
        nqn = connector.get('nqn')
        if not isinstance(nqn, str) or not nqn.startswith('nqn.'):
            missing = _('nqn (the NVMe qualified name of host %s; os-brick '
                        'reports it once nvme-cli is installed there and the '
                        'kernel has nvme-fabrics)') % connector.get('host')
            LOG.error('The connector lacks %s.', missing)
            raise exception.InvalidConnectorException(missing=missing)

    def initialize_connection(self, volume, connector):
        """Let the connector's host use the volume, and say how."""
        self.validate_connector(connector)
        with faults.as_cinder_errors():
            export = self._api.export_volume(volume.name_id,
                                             connector['nqn'])
        return self._connection_info(connector, export, discard=True)

    def _connection_info(self, connector, export, **more):
        """What os-brick needs to know to attach what was exported."""
        return {
            'driver_volume_type': self._volume_type_for(connector),
            'data': {
                'target_nqn': export.nqn,
                'vol_uuid': export.uuid,
                'portals': [(portal.address, str(portal.port),
                             portal.transport) for portal in export.portals],
                # The name that the access list knows the host by.
                'host_nqn': export.host,
                **more,
            },
        }

    def _volume_type_for(self, connector):
        """The os-brick connector that a host is to attach with."""
        has_ours = connector.get(ashlar_connector.PROPERTY)
        if has_ours and self.configuration.ashlar_use_connector:
            return ashlar_connector.PROTOCOL
        return 'nvmeof'

    def terminate_connection(self, volume, connector, **kwargs):
        """Take the volume from the connector's host, or from all (None).

        :returns: whether the host keeps the volume for another attachment
        """
        nqn = connector.get('nqn') if connector else None
        if nqn and _is_shared(volume, connector):
            LOG.info('Host %(nqn)s keeps volume %(id)s for another '
                     'attachment.', {'nqn': nqn, 'id': volume.name_id})
            return True
        with faults.as_cinder_errors():
            try:
                if connector is None:
                    self._api.unexport_all(volume.name_id)
                elif nqn:
                    self._api.unexport_volume(volume.name_id, nqn)
            except errors.NotFound:
                LOG.info('Volume %s is not there (any more), no host can '
                         'use it.', volume.name_id)
        return False

    def clear_download(self, context, volume):
        """Take a volume, to which an image was copied, from all hosts.

        cinder-volume was killed amid the copy. The volume goes to `error`,
        and with a host that may use it nobody could delete it.
        """
        self.terminate_connection(volume, None)

    # Snapshots. A backup attaches one, as a device that cannot be written.

    def create_snapshot(self, snapshot):
        """Take a snapshot of the volume, whatever hosts are writing."""
        with faults.as_cinder_errors():
            taken = self._api.create_snapshot(
                snapshot.id, volume_id=snapshot.volume.name_id,
                name=snapshot.name)
            if taken.state != taken.AVAILABLE:
                # It would be of some later moment. Nobody would look for it.
                self._api.delete_snapshot(taken.id)
                raise exception.SnapshotUnavailable(
                    data=_('no node serves volume %s at present, so no '
                           'snapshot was taken') % taken.volume)

    def delete_snapshot(self, snapshot):
        """Delete a snapshot; one that is not there counts as deleted."""
        snapshot_id = existing.id_of(snapshot)
        with faults.as_cinder_errors():
            try:
                self._api.delete_snapshot(snapshot_id)
            except errors.NotFound:
                LOG.info('Snapshot %s is not there (any more), nothing to '
                         'delete.', snapshot_id)

    def snapshot_revert_use_temp_snapshot(self):
        """Reverting is one step: either it is done or nothing is lost."""
        return False

    def revert_to_snapshot(self, context, volume, snapshot):
        """Make the volume again what its newest snapshot shows."""
        snapshot_id = existing.id_of(snapshot)
        with faults.as_cinder_errors():
            self._api.revert_volume(volume.name_id, snapshot_id)
            found = self._api.snapshot(snapshot_id)
        if found.state == found.REVERTING:
            msg = (_('no node serves volume %s at present; it is reverted '
                     'as soon as one does') % volume.name_id)
            raise exception.VolumeBackendAPIException(data=msg)

    def backup_use_temp_snapshot(self):
        """Back up a volume in use from a snapshot, whatever is configured.

        The other way is a copy of the volume.
        """
        return True

    def create_export_snapshot(self, context, snapshot, connector):
        pass

    def remove_export_snapshot(self, context, snapshot):
        pass

    def initialize_connection_snapshot(self, snapshot, connector, **kwargs):
        """Let the connector's host read the snapshot, and say how."""
        self.validate_connector(connector)
        with faults.as_cinder_errors():
            export = self._api.export_snapshot(existing.id_of(snapshot),
                                               connector['nqn'])
        return self._connection_info(connector, export, access_mode='ro')

    def terminate_connection_snapshot(self, snapshot, connector, **kwargs):
        """Take the snapshot from the connector's host, or from all (None).

        Cinder makes one backup of a snapshot at a time, so no other one of
        the same host needs it.
        """
        snapshot_id = existing.id_of(snapshot)
        nqn = connector.get('nqn') if connector else None
        with faults.as_cinder_errors():
            try:
                if connector is None:
                    self._api.unexport_snapshot_all(snapshot_id)
                elif nqn:
                    self._api.unexport_snapshot(snapshot_id, nqn)
            except errors.NotFound:
                LOG.info('Snapshot %s is not there (any more), no host can '
                         'read it.', snapshot_id)

    # Changes of type and place, as far as nothing has to be copied.

    def retype(self, context, volume, new_type, diff, host):
        """Accept what the pool of the volume already gives, and new bounds.

        The scheduler chose the host by the new type's extra specs, so when
        that is where the volume is, it has what they ask for. Encryption,
        Cinder's (a layer above the device) or that of Ashlar, needs a copy,
        and so does compression.
        """
        if diff.get('encryption') or not self._is_place_of(volume, host):
            return False, None
        sealed = policy.encryption(new_type.id)
        packed = policy.compression(new_type.id)
        if packed == policy.compression(volume.volume_type_id):
            packed = None  # it goes on as it was made, maybe before a release
        before = policy.bounds(volume.volume_type_id, volume.size)
        bounds = policy.bounds(new_type.id, volume.size)
        with faults.as_cinder_errors():
            found = self._api.volume(volume.name_id)
            if (sealed not in (None, found.encryption) or
                    packed not in (None, found.compression)):
                return False, None
            if bounds != before:
                self._limit(volume.name_id, bounds)
        return True, None

    def migrate_volume(self, context, volume, host):
        """Move to another service of Cinder that serves the same pool."""
        return self._is_place_of(volume, host), None

    def _is_place_of(self, volume, host):
        """Whether a back end of Cinder is the pool the volume is in."""
        there = host.get('capabilities') or {}
        if there.get('location_info') != self._location():
            return False
        pool = (volume_utils.extract_host(host['host'], level='pool') or
                there.get('pool_name'))
        with faults.as_cinder_errors():
            return self._api.volume(volume.name_id).pool == pool

    def update_migrated_volume(self, ctxt, volume, new_volume,
                               original_volume_status):
        """The volume goes by the id of the copy that took its place."""
        return {'_name_id': new_volume.name_id}

    def _init_vendor_properties(self):
        properties = {}
        self._set_property(
            properties, policy.ENCRYPTION, 'Encryption',
            _('Encryption of volumes before they leave the gateway; what '
              'the pool says if not set.'),
            'string', enum=list(policy.CIPHERS))
        self._set_property(
            properties, policy.COMPRESSION, 'Compression',
            _('Compression of stripe units; what the pool says if not set.'),
            'string', enum=list(policy.PACKERS))
        return properties, 'ashlar'

    def _location(self):
        if self._cluster_id is None:
            with faults.as_cinder_errors():
                self._cluster_id = self._api.cluster().id
        return f'{type(self).__name__}:{self._cluster_id}'

    def _update_volume_stats(self):
        conf = self.configuration
        location = self._location()
        with faults.as_cinder_errors():
            pools = [self._api.pool(name) for name in conf.ashlar_pools]
        self._stats = {
            'volume_backend_name': (conf.safe_get('volume_backend_name') or
                                    'ashlar'),
            'vendor_name': self.VENDOR,
            'driver_version': self.VERSION,
            'storage_protocol': constants.NVMEOF_TCP,
            # One subsystem a volume: hosts need no lock to disconnect one.
            'shared_targets': False,
            'pools': [dict(self._pool_stats(pool), location_info=location)
                      for pool in pools],
        }

    def _pool_stats(self, pool):
        conf = self.configuration
        # The scheduler fills a pool to the last block, and then a node may
        # fail: what rebuilding it takes is not offered, nor what is reserved.
        reserved = pool.total_bytes * conf.reserved_percentage // 100
        free = max(pool.free_bytes - pool.rebuild_reserve_bytes - reserved, 0)
        return {
            'pool_name': pool.name,
            'total_capacity_gb': _gib(pool.total_bytes),
            'free_capacity_gb': _gib(free),
            'provisioned_capacity_gb': _gib(pool.provisioned_bytes),
            'total_volumes': pool.volumes,
            'reserved_percentage': conf.reserved_percentage,
            'max_over_subscription_ratio':
                volume_utils.get_max_over_subscription_ratio(
                    conf.max_over_subscription_ratio, supports_auto=True),
            # Of a pool that offers it the scheduler never asks what is free,
            # of any other it does: a full one gets no more volumes.
            'thin_provisioning_support':
                free >= min(units.Gi, pool.total_bytes // 100),
            'thick_provisioning_support': False,
            'online_extend_support': True,
            'multiattach': True,
            'QoS_support': True,
            'consistent_group_snapshot_enabled': True,
            'replication_enabled': False,
            'filter_function': self.get_filter_function(),
            'goodness_function': self.get_goodness_function(),
            # For volume types, as in capabilities:ashlar_parity='>= 2'.
            'ashlar_code': pool.code,
            'ashlar_data': pool.data,
            'ashlar_parity': pool.parity,
            'ashlar_domain': pool.domain,
            'ashlar_encryption': pool.encryption,
            'ashlar_compression': pool.compression,
        }


def _is_shared(volume, connector):
    """Whether another attachment of the same host uses the volume.

    Called while the attachment that goes is still on record, with the very
    connector it was made with. A connector that is on no record is one of
    Cinder's own (an image transfer, say), so all those on record are others.
    """
    recorded = [attachment.connector
                for attachment in volume.volume_attachment
                if attachment.connector]
    same_host = [one for one in recorded
                 if one.get('nqn') == connector['nqn']]
    return len(same_host) > (1 if connector in same_host else 0)


def _gib(size_bytes):
    return round(size_bytes / units.Gi, 2)
