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

"""docs/openstack.md knows what the driver knows: its options, its specs.

``python3 -m ashlar_cinder.tests.test_docs`` writes the options there anew.
"""

import pathlib
import re
import unittest

from ashlar_cinder import options
from ashlar_cinder import policy

PAGE = pathlib.Path(__file__).resolve().parents[3] / 'docs' / 'openstack.md'
PLACE = re.compile(r'(<!-- options: [^>]*-->\n).*(<!-- end of options -->)',
                   re.DOTALL)


def table():
    """The options as rows of a table."""
    rows = ['| option | default | meaning |', '|---|---|---|']
    for opt in options.OPTS:
        default = opt.default
        if isinstance(default, list):
            default = ','.join(default)
        shown = '' if default in (None, '') else f'`{default}`'
        rows.append(f'| `{opt.name}` | {shown} | {opt.help} |')
    return '\n'.join(rows) + '\n'


def page():
    """The document with the options that there are."""
    return PLACE.sub(lambda found: found[1] + table() + found[2],
                     PAGE.read_text(encoding='utf-8'))


class DocsTest(unittest.TestCase):

    def test_options_are_those_of_the_driver(self):
        self.assertEqual(PAGE.read_text(encoding='utf-8'), page(),
                         'run python3 -m ashlar_cinder.tests.test_docs')
        self.assertIn('| `ashlar_api_urls` |', page())

    def test_names_of_volume_types_are_explained(self):
        for name in (policy.ENCRYPTION, *policy.LIMITS, *policy.SCALED):
            self.assertIn(f'`{name}', page())


if __name__ == '__main__':
    PAGE.write_text(page(), encoding='utf-8')
