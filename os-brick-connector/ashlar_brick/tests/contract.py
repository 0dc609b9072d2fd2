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

"""Holds requests and answers against restapi/api/openapi.yaml."""

import pathlib
import re

import jsonschema
import yaml

DOCUMENT = (pathlib.Path(__file__).resolve().parents[3] /
            'restapi' / 'api' / 'openapi.yaml')


class Contract:
    """The API document, as checks that return the list of violations."""

    def __init__(self, path=DOCUMENT):
        self._document = yaml.safe_load(path.read_text(encoding='utf-8'))

    def request(self, method, path, body):
        """Violations of the document by a request.

        :param path: percent-encoded path with /v1
        :param body: decoded JSON body, None when there is none
        """
        operation = self._operation(method, path)
        if operation is None:
            return [f'{method} {path} is not in the document']
        described = operation.get('requestBody')
        if described is None:
            return [] if body is None else [f'{method} {path}: no body wanted']
        schema = described['content']['application/json']['schema']
        return self._check(f'{method} {path}: request', schema, body)

    def answer(self, method, path, status, body):
        """Violations of the document by an answer."""
        operation = self._operation(method, path)
        if operation is None:
            return [] if status == 404 else [f'{method} {path} answered']
        answers = operation['responses']
        described = answers.get(str(status), answers.get('default'))
        if described is None:
            return [f'{method} {path}: {status} is not in the document']
        content = self._resolve(described).get('content')
        if content is None:
            return [] if body is None else [f'{method} {path}: has a body']
        (media,) = content.values()
        return self._check(f'{method} {path}: {status}', media['schema'],
                           body)

    def _operation(self, method, path):
        for template, item in self._document['paths'].items():
            pattern = re.sub(r'\{[^}]*\}', '[^/]+', template)
            if re.fullmatch(pattern, path):
                return item.get(method.lower())
        return None

    def _resolve(self, node):
        reference = node.get('$ref')
        if reference is None:
            return node
        found = self._document
        for step in reference.removeprefix('#/').split('/'):
            found = found[step]
        return found

    def _check(self, what, schema, value):
        whole = {'components': self._document['components'],
                 'allOf': [schema]}
        validator = jsonschema.Draft202012Validator(whole)
        return [f'{what}: {error.json_path}: {error.message}'
                for error in validator.iter_errors(value)]
