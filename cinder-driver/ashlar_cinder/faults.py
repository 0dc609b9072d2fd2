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

"""What the API client raises, as what Cinder expects."""

import contextlib

from oslo_log import log as logging

from ashlar_brick import errors
from cinder import exception

LOG = logging.getLogger(__name__)

# What a view list holds; only the message that Cinder logs has the number.
SNAPSHOTS_OF_A_VOLUME = 1024


@contextlib.contextmanager
def as_cinder_errors():
    """Translate errors of the API client that leave the block.

    "Busy" makes Cinder put the resource back to `available`, for it is as it
    was; anything else is an error of the back end.
    """
    try:
        yield
    except (errors.VolumeExported, errors.VolumeHasSnapshots,
            errors.VolumeInGroup) as exc:
        LOG.error('%s', exc)
        raise exception.VolumeIsBusy(message=str(exc)) from exc
    except errors.SnapshotExported as exc:
        LOG.error('%s', exc)
        raise exception.SnapshotIsBusy(message=str(exc)) from exc
    except errors.SnapshotLimit as exc:
        LOG.error('%s', exc)
        raise exception.SnapshotLimitReached(
            set_limit=SNAPSHOTS_OF_A_VOLUME) from exc
    except errors.AshlarError as exc:
        raise exception.VolumeBackendAPIException(data=exc) from exc
