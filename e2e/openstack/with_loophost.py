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

"""Runs a service whose os-brick attaches NVMe-oF volumes with a loophost.

    with_loophost.py SOCKET MODULE ARGUMENTS...

MODULE is what the service's own script calls main() of, nova.cmd.compute say;
SOCKET is where the agent of e2e/loophost listens. os-brick's connector for
``nvmeof`` is replaced in this process, and what Ashlar's own does with a
kernel; all else of the service is as it is. Whether it has Ashlar's own, and
which one attaches what, is the service's to decide; the log tells.
"""

import http.client
import importlib
import json
import os
import socket
import sys


def main(agent, module, arguments):
    service = importlib.import_module(module)  # patches the library, perhaps
    from os_brick import exception
    from os_brick.initiator import connector
    from os_brick.initiator.connectors import nvmeof

    from ashlar_brick import connector as ashlar_connector

    class LoopConnector(nvmeof.NVMeOFConnector):
        """Has the agent do what the kernel does for os-brick's own."""

        def connect_volume(self, connection_properties):
            print(type(self).__name__, 'attaches',
                  connection_properties['vol_uuid'], flush=True)
            return {'type': 'block',
                    'path': _call('PUT', connection_properties)['path']}

        def disconnect_volume(self, connection_properties, device_info,
                              force=False, ignore_errors=False):
            fd = os.open(_call('GET', connection_properties)['path'],
                         os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
            _call('DELETE', connection_properties)

        def extend_volume(self, connection_properties):
            return _call('POST', connection_properties, '/rescan')['size']

        def get_volume_paths(self, connection_properties, device_info=None):
            return [_call('GET', connection_properties)['path']]

    def _call(method, properties, what=''):
        target = {key: properties[key]
                  for key in ('target_nqn', 'host_nqn', 'portals')}
        connection = _Connection(agent)
        connection.request(
            method, '/devices/%s%s' % (properties['vol_uuid'], what),
            body=json.dumps(target))
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise exception.BrickException('%s %s: %s %r' % (
                method, properties['vol_uuid'], answer.status, text))
        return json.loads(text) if text else None

    connector.LoopConnector = LoopConnector
    for protocol in ('NVME', 'NVMEOF'):
        connector._connector_mapping_linux[protocol] = (
            'os_brick.initiator.connector.LoopConnector')
    for name in ('connect_volume', 'disconnect_volume', 'extend_volume',
                 'get_volume_paths'):
        setattr(ashlar_connector.AshlarConnector, name,
                vars(LoopConnector)[name])
    sys.argv = [module, *arguments]
    return service.main()


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__('host')
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
