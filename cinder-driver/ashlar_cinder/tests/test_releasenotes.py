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

"""Release notes are such that reno takes them."""

import pathlib
import re
import unittest

import yaml

NOTES = pathlib.Path(__file__).resolve().parents[2] / 'releasenotes' / 'notes'
NAME = re.compile(r'[a-z0-9]+(-[a-z0-9]+)*-[0-9a-f]{16}\.yaml')
# Those that reno knows by default; all but the first are lists.
SECTIONS = {'prelude', 'features', 'issues', 'upgrade', 'deprecations',
            'critical', 'security', 'fixes', 'other'}


def problems(name, text):
    """What reno, or a reader, would not understand of a note."""
    found = [] if NAME.fullmatch(name) else ['its name is no slug and id']
    note = yaml.safe_load(text)
    if not isinstance(note, dict) or not note:
        return [*found, 'it has no sections']
    for section, entries in note.items():
        if section not in SECTIONS:
            found.append(f'unknown section {section}')
        elif section == 'prelude':
            entries = [entries]
        if not isinstance(entries, list) or not all(
                isinstance(entry, str) and entry.strip()
                for entry in entries):
            found.append(f'{section} is no list of texts')
    return found


class ReleaseNotesTest(unittest.TestCase):

    def test_reno_takes_every_note(self):
        notes = sorted(NOTES.iterdir())
        self.assertTrue(notes)
        for path in notes:
            with self.subTest(path.name):
                self.assertEqual([], problems(
                    path.name, path.read_text(encoding='utf-8')))

    def test_what_reno_does_not_take(self):
        good = 'a-0123456789abcdef.yaml'
        for name, text in (('a.yaml', 'fixes: [x]'), (good, ''),
                           (good, 'fixes: x'), (good, 'fixes: [x: y]'),
                           (good, 'news: [x]'), (good, "fixes: ['']"),
                           (good, '- x')):
            with self.subTest(text):
                self.assertTrue(problems(name, text))
        self.assertEqual([], problems(good, 'prelude: x\nfixes: [x]'))
