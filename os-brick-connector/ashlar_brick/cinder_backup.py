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

"""Lets cinder-backup attach with the connector of Ashlar.

In cinder.conf of a host that has this package::

    [DEFAULT]
    backup_manager = ashlar_brick.cinder_backup.BackupManager
"""

from ashlar_brick import connector
from cinder.backup import manager


class BackupManager(manager.BackupManager):
    """Cinder's own, in a process whose os-brick knows the connector."""

    def __init__(self, *args, **kwargs):
        connector.register()
        super().__init__(*args, **kwargs)
