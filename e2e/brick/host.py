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

"""Runs in a guest and does what nova-compute does with os-brick.

    host.py PORT LOCK_DIRECTORY

It listens on the port, says so, and serves one client: a JSON object per line
names a call, another one tells how it went (the package doc of e2e/brick).
"""

import json
import socket
import sys
import time
import traceback

import os_brick
from os_brick import privileged
from os_brick.initiator import connector
from oslo_concurrency import lockutils
from oslo_config import cfg
from oslo_privsep import priv_context

from ashlar_brick import connector as ashlar_connector


def main(port, lock_directory):
    cfg.CONF([], default_config_files=[])
    lockutils.set_defaults(lock_directory)
    os_brick.setup(cfg.CONF)
    # privsep's daemon as always, but not through sudo and a new Python.
    privileged.default.start(priv_context.Method.FORK)
    ashlar_connector.register()
    with socket.create_server(('', port)) as server:
        print('listening', flush=True)
        client, _address = server.accept()
        with client, client.makefile('rw') as stream:
            for line in stream:
                stream.write(json.dumps(serve(json.loads(line))) + '\n')
                stream.flush()


def serve(request):
    """One call. -> {'result' or 'error', 'seconds'}"""
    began = time.monotonic()
    try:
        answer = {'result': call(**request)}
    except Exception as exc:
        traceback.print_exc()
        answer = {'error': f'{type(exc).__name__}: {exc}'}
    return {**answer, 'seconds': time.monotonic() - began}


def call(call, protocol, multipath, args):
    """A method of the connector for a protocol, or the host's properties."""
    if call == 'get_connector_properties':
        return connector.get_connector_properties(
            'sudo', '10.0.2.15', multipath, False)
    made = connector.InitiatorConnector.factory(
        protocol, 'sudo', use_multipath=multipath, device_scan_attempts=5)
    return getattr(made, call)(*args)


if __name__ == '__main__':
    main(int(sys.argv[1]), sys.argv[2])
