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

"""An in-memory twin of Keystone that knows one user.

It speaks the part of the identity API v3 that a login needs, on 127.0.0.1::

    with KeystoneTwin(issued=print) as twin:
        ...                    # log in at twin.url as USER with PASSWORD
"""

from http import server
import json
import threading
import uuid

USER = 'cinder'
PASSWORD = 'not-' + uuid.uuid4().hex


class KeystoneTwin:
    """One Keystone.

    :param issued: called with every token that it gives
    """

    def __init__(self, issued):
        self.issued = issued
        self.logins = 0
        self._server = server.ThreadingHTTPServer(('127.0.0.1', 0),
                                                  _handler(self))
        self.url = f'http://127.0.0.1:{self._server.server_port}/v3'

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,),
                         daemon=True).start()
        return self

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def log_in(self, body):
        """-> (status, token, answer)"""
        user = body['auth']['identity']['password']['user']
        if (user['name'], user['password']) != (USER, PASSWORD):
            return 401, None, {'error': {'message': 'no such login',
                                         'code': 401}}
        self.logins += 1
        token = 'gAAAA' + uuid.uuid4().hex
        self.issued(token)
        return 201, token, {'token': {
            'methods': ['password'], 'user': {'id': 'u', 'name': USER},
            'issued_at': '2026-01-01T00:00:00.000000Z',
            'expires_at': '2096-01-01T00:00:00.000000Z'}}


def _handler(twin):
    class Handler(server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def log_message(self, *args):
            pass

        def do_GET(self):
            self._write(200, {'version': {
                'id': 'v3.14', 'status': 'stable',
                'links': [{'rel': 'self', 'href': twin.url}]}})

        def do_POST(self):
            length = int(self.headers['Content-Length'])
            status, token, answer = twin.log_in(
                json.loads(self.rfile.read(length)))
            self._write(status, answer, token)

        def _write(self, status, answer, token=None):
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(content)))
            if token:
                self.send_header('X-Subject-Token', token)
            self.end_headers()
            self.wfile.write(content)

    return Handler
