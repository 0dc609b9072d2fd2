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

"""A driver of Cinder that does nothing: what is left is Cinder's own time."""

from cinder.volume import driver


class IdleDriver(driver.VolumeDriver):

    VERSION = '1'

    def check_for_setup_error(self):
        pass

    def _update_volume_stats(self):
        self._stats = {
            'volume_backend_name': 'idle', 'vendor_name': 'Nobody',
            'driver_version': self.VERSION, 'storage_protocol': 'none',
            'pools': [{'pool_name': 'idle', 'total_capacity_gb': 1000,
                       'free_capacity_gb': 1000, 'allocated_capacity_gb': 0,
                       'provisioned_capacity_gb': 0,
                       'reserved_percentage': 0,
                       'online_extend_support': True}]}

    def create_volume(self, volume):
        pass

    def create_volume_from_snapshot(self, volume, snapshot):
        pass

    def create_cloned_volume(self, volume, src_vref):
        pass

    def delete_volume(self, volume):
        pass

    def extend_volume(self, volume, new_size):
        pass

    def create_snapshot(self, snapshot):
        pass

    def delete_snapshot(self, snapshot):
        pass

    def create_export(self, context, volume, connector):
        pass

    def ensure_export(self, context, volume):
        pass

    def remove_export(self, context, volume):
        pass

    def initialize_connection(self, volume, connector):
        return {'driver_volume_type': 'idle', 'data': {}}

    def terminate_connection(self, volume, connector, **kwargs):
        pass
