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

"""What can go wrong in a call to the Ashlar API, as exceptions.

::

    AshlarError
    |-- Unreachable      no address could serve the call
    |-- TimedOut         an address went silent; the outcome is unknown
    |-- BadAnswer        the answer is not one of this API
    |-- NoToken          there is no token to call the API with
    `-- ApiError         the API said no (RFC 9457 problem)
        |-- Invalid          400, 413, 415: it cannot be asked for like this
        |-- Denied           401, 403
        |-- NotFound         404
        |-- Conflict         409
        |   |-- VolumeExported      a host may still use the volume
        |   |-- VolumeHasSnapshots  they have to go first
        |   |-- VolumeInGroup       it has to leave its group first
        |   |-- GroupNotEmpty       the group has volumes or snapshots
        |   |-- SnapshotExported    a host may still read the snapshot
        |   |-- SnapshotNotNewest   the volume has newer ones
        |   |-- SnapshotLimit       the volume has as many as it may
        |   `-- QuotaExceeded       the project may not use more
        |-- PreconditionFailed   412: it was changed in the meantime
        |-- NotSupported     422: this release cannot do it
        |-- TooManyRequests  429: the caller is too fast
        `-- Unavailable      503: this node cannot serve now
"""


class AshlarError(Exception):
    """Base of everything that this package raises on purpose."""


class Unreachable(AshlarError):
    """No address of the cluster could be reached, or all hung up."""


class TimedOut(AshlarError):
    """No answer in time. The call may or may not have been carried out."""


class BadAnswer(AshlarError):
    """Something answered, but not with what this API promises."""


class NoToken(AshlarError):
    """Who gives the tokens gave none. Nothing was called."""


class ApiError(AshlarError):
    """The API refused the call.

    :ivar status: HTTP status, 4xx or 5xx
    :ivar code: stable name of the kind of error (openapi.yaml, Problem.code),
        or '' when the answer was no RFC 9457 problem
    :ivar detail: sentence for people
    :ivar field: the field at fault, or ''
    :ivar request_id: what to look for in the logs of the nodes, or ''
    """

    def __init__(self, call, status, problem):
        self.status = status
        self.code = _text(problem, 'code')
        self.title = _text(problem, 'title')
        self.detail = _text(problem, 'detail')
        self.field = _text(problem, 'field')
        self.request_id = _text(problem, 'request_id')
        words = [f'{call}: {status} {self.code or self.title}'.rstrip()]
        if self.detail:
            words.append(f': {self.detail}')
        if self.field:
            words.append(f' (field {self.field})')
        if self.request_id:
            words.append(f' [request {self.request_id}]')
        super().__init__(''.join(words))


class Invalid(ApiError):
    """The request has a field, or a value, that is refused."""


class Denied(ApiError):
    """The token is missing, wrong, expired or not allowed to do this."""


class NotFound(ApiError):
    """There is no such resource."""


class Conflict(ApiError):
    """The resource exists otherwise, or is in a state that forbids this."""


class VolumeExported(Conflict):
    """A host may still use the volume, so it cannot be deleted."""


class VolumeHasSnapshots(Conflict):
    """The volume has snapshots, so it cannot be deleted."""


class VolumeInGroup(Conflict):
    """The volume is in a group, so it cannot be deleted, or join another."""


class GroupNotEmpty(Conflict):
    """The group has volumes or group snapshots, so it cannot be deleted."""


class SnapshotExported(Conflict):
    """A host may still read the snapshot, so it cannot be deleted."""


class SnapshotNotNewest(Conflict):
    """The volume has newer snapshots than the one it is to become."""


class SnapshotLimit(Conflict):
    """The volume has as many snapshots, and clones, as it may have."""


class QuotaExceeded(Conflict):
    """The project would have more volumes or bytes than its quota."""


class PreconditionFailed(ApiError):
    """What the call was to change is not what the caller has seen."""


class NotSupported(ApiError):
    """The API knows what is meant and does not do it yet."""


class TooManyRequests(ApiError):
    """The caller makes more calls than a node takes. Not carried out."""


class Unavailable(ApiError):
    """The answering node cannot serve calls now; another one may."""


def from_problem(call, status, problem):
    """The exception for an answer with an error status.

    :param call: method and path, for the message
    :param status: HTTP status of the answer
    :param problem: decoded RFC 9457 body, or {} when there was none
    """
    by_code = {'volume_exported': VolumeExported,
               'volume_has_snapshots': VolumeHasSnapshots,
               'volume_in_group': VolumeInGroup,
               'group_not_empty': GroupNotEmpty,
               'snapshot_exported': SnapshotExported,
               'snapshot_not_newest': SnapshotNotNewest,
               'snapshot_limit': SnapshotLimit,
               'quota_exceeded': QuotaExceeded,
               'not_supported': NotSupported}
    by_status = {400: Invalid, 413: Invalid, 415: Invalid,
                 401: Denied, 403: Denied, 404: NotFound, 409: Conflict,
                 412: PreconditionFailed, 429: TooManyRequests,
                 503: Unavailable}
    kind = by_code.get(_text(problem, 'code')) or by_status.get(status)
    return (kind or ApiError)(call, status, problem)


def _text(problem, key):
    value = problem.get(key)
    return value if isinstance(value, str) else ''
