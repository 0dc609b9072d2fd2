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

"""The driver of Ashlar, whose calls a test can hold.

A test listens at the Unix socket of the variable ASHLAR_WATCHER. Of each call
it gets a connection before it begins, that says ``before NAME``, and another
one when it has ended, ``after NAME``; the call goes on when the test closes
the connection.

As a program it lists what the test has to think of: the methods that are
ours, and those that cinder-volume calls.
"""

import functools
import inspect
import os
import pathlib
import re
import socket
from importlib import util

from ashlar_cinder import driver

CALLERS = ('manager', 'volume_utils', 'flows.manager.create_volume',
           'flows.manager.manage_existing',
           'flows.manager.manage_existing_snapshot')


def _watched(name, method):
    @functools.wraps(method)
    def call(*args, **kwargs):
        _tell('before', name)
        try:
            return method(*args, **kwargs)
        finally:
            _tell('after', name)

    return call


def _tell(moment, name):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as test:
        test.connect(os.environ['ASHLAR_WATCHER'])
        test.sendall(f'{moment} {name}\n'.encode())
        test.recv(1)


def _public(cls):
    """The methods of a class that are called from outside."""
    for name in dir(cls):
        found = inspect.getattr_static(cls, name)
        if not name.startswith('_') and inspect.isfunction(found):
            yield name, found


class AshlarDriver(driver.AshlarDriver):
    """Under its own name, which is a part of its location_info."""


for _name, _method in _public(driver.AshlarDriver):
    setattr(AshlarDriver, _name, _watched(_name, _method))


def calls():
    """The names of the methods that are ours or that cinder-volume calls."""
    methods = dict(_public(driver.AshlarDriver))
    names = {name for name, method in methods.items()
             if method.__module__.startswith('ashlar_cinder.')}
    for module in CALLERS:
        # Not imported: it needs a configured service.
        spec = util.find_spec(f'cinder.volume.{module}')
        text = pathlib.Path(spec.origin).read_text()
        names.update(re.findall(r'\bdriver\.([a-z]\w*)', text))
    return sorted(names.intersection(methods))


if __name__ == '__main__':
    print('\n'.join(calls()))
