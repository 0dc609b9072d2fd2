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

"""A host without NVMe: its sysfs as a tree of files, `nvme` as a program.

os-brick runs programs and reads files; here the program that it finds on PATH
changes the files as the kernel would::

    root/nvme               what the kernel has under /sys/class/nvme-fabrics
    root/block              /sys/class/block
    root/dev                /dev
    root/bin/nvme           the program; root/bin/blockdev
    root/calls              the calls of both, one JSON list a line
    root/target.json        what answers at the portals
"""

import json
import os
import pathlib
import sys

# What nvme-cli 2.3 prints and how it ends.
REFUSED = ('Failed to write to /dev/nvme-fabrics: Connection refused\n'
           'could not add new controller: failed to write to nvme-fabrics '
           'device\n')
ALREADY = 'already connected\n'


class Host:
    """Files and programs below a directory.

    :param src_addr: whether the kernel tells the source address (>= 6.1)
        and the UUID of a path as well as that of the joined device
    :param multipath: whether it joins the paths to one device
    """

    def __init__(self, root, src_addr=True, multipath=True):
        self.root = pathlib.Path(root)
        for name in ('nvme', 'block', 'dev', 'bin'):
            (self.root / name).mkdir()
        (self.root / 'calls').touch()
        self.target = {
            'nqn': None, 'uuid': None, 'size': 0, 'reported': None,
            'dead': [], 'shows': True, 'already': [], 'optimized': None,
            'src_addr': src_addr, 'multipath': multipath,
            'on_rescan': None, 'flush': 0}
        for name in ('nvme', 'blockdev'):
            program = self.root / 'bin' / name
            program.write_text(
                f'#!{sys.executable} -SE\nimport runpy, sys\n'
                f'sys.argv.insert(1, {name!r})\n'
                f'runpy.run_path({__file__!r}, run_name="__main__")\n')
            program.chmod(0o755)

    def set(self, **values):
        """Change the target, as the next call of the program meets it."""
        self.target.update(values)
        (self.root / 'target.json').write_text(json.dumps(self.target))

    def calls(self, *words):
        """Calls so far whose first words are these, without them."""
        made = [json.loads(line) for line in
                (self.root / 'calls').read_text().splitlines()]
        return [call[len(words):] for call in made
                if call[:len(words)] == list(words)]

    def controllers(self):
        return sorted(os.listdir(self.root / 'nvme'))

    def lose(self, address):
        """The node at the address goes: its controllers try again."""
        for path in (self.root / 'nvme').iterdir():
            if f'traddr={address},' in (path / 'address').read_text():
                (path / 'state').write_text('connecting\n')

    def add(self, name, device, nqn, uuid, address='192.0.2.9'):
        """A controller that was there before, of anybody."""
        _controller(self.root, name, nqn, address, '4420',
                    'nqn.2014-08.org.nvmexpress:uuid:other', self.target)
        _namespace(self.root, name, device, uuid, 1 << 30, '')


def _write(path, **properties):
    path.mkdir(parents=True, exist_ok=True)
    for name, value in properties.items():
        (path / name).write_text(f'{value}\n')


def _controller(root, name, nqn, address, port, host, target):
    source = ',src_addr=192.0.2.200' if target['src_addr'] else ''
    _write(root / 'nvme' / name, subsysnqn=nqn, transport='tcp',
           hostnqn=host, state='live',
           address=f'traddr={address},trsvcid={port}{source}')


def _namespace(root, controller, device, uuid, size, ana_state,
               path_uuid=True):
    """A namespace, or a path of one that the kernel joined."""
    head = controller.removeprefix('nvme')
    subsystem, number = device.removeprefix('nvme').split('n')
    if head == subsystem and not ana_state:
        _write(root / 'nvme' / controller / device, uuid=uuid)
    else:
        path = f'nvme{subsystem}c{head}n{number}'
        _write(root / 'nvme' / controller / path, ana_state=ana_state,
               **({'uuid': uuid} if path_uuid else {}))
    _write(root / 'block' / device, uuid=uuid, size=size >> 9)
    (root / 'dev' / device).touch()


def _connect(root, target, flags):
    address, port = flags['-a'], flags['-s']
    if address in target['dead']:
        return REFUSED, 1
    present = os.listdir(root / 'nvme')
    name = f'nvme{len(present) + 3}'
    if target['shows']:
        device = 'nvme7n1' if target['multipath'] else f'{name}n1'
        ana = '' if not target['multipath'] else (
            'optimized' if address == target['optimized'] else
            'inaccessible')
        _namespace(root, name, device, target['uuid'], target['size'], ana,
                   target['src_addr'])
    _controller(root, name, flags['-n'], address, port, flags.get('-q', ''),
                target)
    return (ALREADY, 1) if address in target['already'] else ('', 0)


def _disconnect(root, name):
    folder = root / 'nvme' / name
    devices = {path.name.partition('c')[0] +
               'n' + path.name.rpartition('n')[2]
               if 'c' in path.name else path.name
               for path in folder.glob('nvme*')}
    for path in sorted(folder.rglob('*'), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    for device in devices:
        numbers = device.removeprefix('nvme').split('n')
        left = list((root / 'nvme').glob(f'*/nvme{numbers[0]}c*'))
        if not left:
            (root / 'dev' / device).unlink()
            for path in (root / 'block' / device).iterdir():
                path.unlink()
            (root / 'block' / device).rmdir()
    return '', 0


def _nvme(root, target, words):
    command, *rest = words
    if command == 'connect':
        return _connect(root, target, dict(zip(*[iter(rest)] * 2,
                                               strict=True)))
    if command == 'disconnect':
        return _disconnect(root, rest[1])
    if command == 'id-ns':
        print(json.dumps(target['reported']))
        return '', 0
    if command == 'ns-rescan':
        if target['on_rescan']:
            (root / 'block' / 'nvme7n1' / 'size').write_text(
                str(target['on_rescan'] >> 9))
        return '', 0
    return f'no {command} here\n', 2


def _main(program, words):
    root = pathlib.Path(os.environ['FAKE_HOST'])
    with open(root / 'calls', 'a') as calls:
        calls.write(json.dumps([program, *words]) + '\n')
    target = json.loads((root / 'target.json').read_text())
    if program == 'blockdev':
        return target['flush']
    said, code = _nvme(root, target, words)
    sys.stderr.write(said)
    return code


if __name__ == '__main__':
    sys.exit(_main(sys.argv[1], sys.argv[2:]))
