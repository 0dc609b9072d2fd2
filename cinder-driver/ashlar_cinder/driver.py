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
unpatched Nova attaches with os-brick's own connector.

==================  ====================================================
Cinder              Ashlar API
==================  ====================================================
volume              volume with id = ``volume.name_id`` and the same UUID
                    in its NVMe namespace; name = ``volume.name``
``host@backend#p``  pool p
attached host       export of the volume to ``connector['nqn']``
==================  ====================================================

The driver keeps nothing: no file, no lock, no cache beyond the id of the
cluster. Every call of the API is idempotent, so a call that Cinder repeats,
or that a killed cinder-volume left half-way, comes out the same.
"""

import contextlib
from urllib import parse

from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import units

from ashlar_brick import client
from ashlar_brick import errors
from ashlar_cinder import options
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
class AshlarDriver(driver.VolumeDriver):
    """Volumes of an Ashlar cluster, attached over NVMe/TCP.

    Version history:

    .. code-block:: none

        0.1.0 - Create, delete, extend, attach, detach, statistics
    """

    VERSION = '0.1.0'
    VENDOR = 'Ashlar'
    CI_WIKI_NAME = 'Ashlar_CI'
    # Nothing here is in the way of it, but two cinder-volume services on one
    # cluster have not been tried yet.
    SUPPORTS_ACTIVE_ACTIVE = False

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
                conf.ashlar_api_urls, conf.ashlar_api_token,
                ca_file=conf.driver_ssl_cert_path,
                connect_timeout=conf.ashlar_api_connect_timeout,
                timeout=conf.ashlar_api_timeout)
        except ValueError as exc:
            msg = _('ashlar_api_urls or ashlar_api_token cannot be used: '
                    '%s') % exc
            raise exception.VolumeDriverException(message=msg) from exc

    def check_for_setup_error(self):
        """See that the cluster answers, likes the token, has the pools."""
        for url in self._api.addresses:
            parts = parse.urlsplit(url)
            if parts.scheme == 'http' and parts.hostname not in LOOPBACK:
                LOG.warning('%s is not encrypted: the token travels in the '
                            'clear. Use https.', url)
        with _as_cinder_errors():
            self._cluster_id = self._api.cluster().id
            for name in self.configuration.ashlar_pools:
                self._api.pool(name)

    def create_volume(self, volume):
        pool = (volume_utils.extract_host(volume.host, level='pool') or
                self.configuration.ashlar_pools[0])
        with _as_cinder_errors():
            self._api.create_volume(volume.name_id, name=volume.name,
                                    pool=pool,
                                    size_bytes=volume.size * units.Gi)

    def delete_volume(self, volume):
        """Delete a volume; one that is not there counts as deleted.

        A volume that a host may still use is not deleted: Cinder believes it
        detached, and when the two disagree the data stays.
        """
        with _as_cinder_errors():
            try:
                self._api.delete_volume(volume.name_id)
            except errors.NotFound:
                LOG.info('Volume %s is not there (any more), nothing to '
                         'delete.', volume.name_id)

    def extend_volume(self, volume, new_size):
        """Grow a volume, attached or not, to new_size GiB."""
        with _as_cinder_errors():
            self._api.grow_volume(volume.name_id, new_size * units.Gi)

    def get_pool(self, volume):
        """The pool of a volume, also of one whose host names none."""
        pool = volume_utils.extract_host(volume.host, level='pool')
        if pool is None:
            with _as_cinder_errors():
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
        with _as_cinder_errors():
            export = self._api.export_volume(volume.name_id,
                                             connector['nqn'])
        return {
            'driver_volume_type': 'nvmeof',
            'data': {
                'target_nqn': export.nqn,
                'vol_uuid': export.uuid,
                'portals': [(portal.address, str(portal.port),
                             portal.transport) for portal in export.portals],
                # The name that the access list knows the host by.
                'host_nqn': export.host,
                'discard': True,
            },
        }

    def terminate_connection(self, volume, connector, **kwargs):
        """Take the volume from the connector's host, or from all (None).

        :returns: whether the host keeps the volume for another attachment
        """
        nqn = connector.get('nqn') if connector else None
        if nqn and _is_shared(volume, connector):
            LOG.info('Host %(nqn)s keeps volume %(id)s for another '
                     'attachment.', {'nqn': nqn, 'id': volume.name_id})
            return True
        with _as_cinder_errors():
            try:
                if connector is None:
                    self._api.unexport_all(volume.name_id)
                elif nqn:
                    self._api.unexport_volume(volume.name_id, nqn)
            except errors.NotFound:
                LOG.info('Volume %s is not there (any more), no host can '
                         'use it.', volume.name_id)
        return False

    def _update_volume_stats(self):
        conf = self.configuration
        with _as_cinder_errors():
            if self._cluster_id is None:
                self._cluster_id = self._api.cluster().id
            pools = [self._api.pool(name) for name in conf.ashlar_pools]
        self._stats = {
            'volume_backend_name': (conf.safe_get('volume_backend_name') or
                                    'ashlar'),
            'vendor_name': self.VENDOR,
            'driver_version': self.VERSION,
            'storage_protocol': constants.NVMEOF_TCP,
            # One subsystem a volume: hosts need no lock to disconnect one.
            'shared_targets': False,
            'pools': [self._pool_stats(pool) for pool in pools],
        }

    def _pool_stats(self, pool):
        conf = self.configuration
        return {
            'pool_name': pool.name,
            'total_capacity_gb': _gib(pool.total_bytes),
            'free_capacity_gb': _gib(pool.free_bytes),
            'provisioned_capacity_gb': _gib(pool.provisioned_bytes),
            'total_volumes': pool.volumes,
            'reserved_percentage': conf.reserved_percentage,
            'max_over_subscription_ratio':
                volume_utils.get_max_over_subscription_ratio(
                    conf.max_over_subscription_ratio, supports_auto=True),
            'thin_provisioning_support': True,
            'thick_provisioning_support': False,
            'online_extend_support': True,
            'multiattach': False,
            'QoS_support': False,
            'consistent_group_snapshot_enabled': False,
            'replication_enabled': False,
            'location_info': f'AshlarDriver:{self._cluster_id}',
            # For volume types, as in capabilities:ashlar_parity='>= 2'.
            'ashlar_code': pool.code,
            'ashlar_data': pool.data,
            'ashlar_parity': pool.parity,
        }

    # Not there yet. Said in words: NotImplementedError() alone ends up in
    # the log as an empty line.

    def create_snapshot(self, snapshot):
        raise _not_yet(_('snapshots'))

    def delete_snapshot(self, snapshot):
        """Succeed: the record of a failed create_snapshot has to go."""

    def create_volume_from_snapshot(self, volume, snapshot):
        raise _not_yet(_('volumes from snapshots'))

    def create_cloned_volume(self, volume, src_vref):
        raise _not_yet(_('clones'))


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


@contextlib.contextmanager
def _as_cinder_errors():
    """Turn what the API client raises into what Cinder expects."""
    try:
        yield
    except errors.VolumeExported as exc:
        LOG.error('%s', exc)
        raise exception.VolumeIsBusy(message=str(exc)) from exc
    except errors.AshlarError as exc:
        raise exception.VolumeBackendAPIException(data=exc) from exc


def _gib(size_bytes):
    return round(size_bytes / units.Gi, 2)


def _not_yet(what):
    return NotImplementedError(
        _('The Ashlar driver does not support %s yet.') % what)
