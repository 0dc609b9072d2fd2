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

"""What the tests of the driver have in common."""

import unittest
import uuid

from oslo_config import cfg

from ashlar_brick.tests import api_twin
from ashlar_cinder import driver
from ashlar_cinder import options
from cinder import context
from cinder import objects
from cinder.volume import configuration
from cinder.volume import group_types
from cinder.volume import qos_specs
from cinder.volume import volume_types

NQN = 'nqn.2014-08.org.nvmexpress:uuid:6c4b2f9e-0000-4000-8000-00000000000'
CONSISTENT = 'consistent_group_snapshot_enabled'
HOST_A = {'nqn': NQN + 'a', 'host': 'compute-a', 'ip': '192.0.2.10'}
HOST_B = {'nqn': NQN + 'b', 'host': 'compute-b', 'ip': '192.0.2.11'}


class TestCase(unittest.TestCase):
    """A driver that is set up on a twin of the API.

    Not one of Cinder's own test cases: importing those patches the whole
    process for eventlet, under which the twin's server cannot run. (The twin
    is imported before Cinder for the same reason: eventlet swaps http.server.)
    """

    def setUp(self):
        objects.register_all()
        # Forget what test runs before set, and read no file of this machine.
        cfg.CONF.reset()
        cfg.CONF([], project='cinder', default_config_files=[])
        self.twin = api_twin.ApiTwin().__enter__()
        self.addCleanup(self.twin.stop)
        self.cluster = self.twin.cluster
        # Cinder's tables, in memory and empty.
        cfg.CONF.set_override('connection', 'sqlite://', group='database')
        self.addCleanup(cinder_tables())
        self.admin = context.get_admin_context()
        self.driver = self.make_driver()
        self.driver.do_setup(None)

    def tearDown(self):
        self.assertEqual([], self.twin.violations)

    def make_driver(self, **overrides):
        conf = configuration.Configuration(options.OPTS,
                                           config_group='ashlar-1')
        values = {'ashlar_api_urls': [self.twin.url],
                  'ashlar_api_token': self.twin.token,
                  'volume_backend_name': 'ashlar-1'}
        values.update(overrides)
        made = driver.AshlarDriver(configuration=conf)
        for name, value in values.items():
            cfg.CONF.set_override(name, value, group='ashlar-1')
        self.addCleanup(cfg.CONF.clear)
        return made

    def make_volume(self, size=1, pool='default', connectors=(), **updates):
        """A Cinder volume, on record as attached with the connectors."""
        volume_id = str(uuid.uuid4())
        attachments = [objects.VolumeAttachment(
            id=str(uuid.uuid4()), volume_id=volume_id, connector=connector)
            for connector in connectors]
        updates.setdefault('_name_id', None)
        updates.setdefault('volume_type_id', None)
        updates.setdefault('group_id', None)
        return objects.Volume(
            context.get_admin_context(), id=volume_id, size=size,
            host=f'vm@ashlar-1#{pool}' if pool else 'vm@ashlar-1',
            volume_attachment=objects.VolumeAttachmentList(
                objects=attachments), **updates)

    def make_snapshot(self, volume, **updates):
        updates.setdefault('provider_id', None)
        updates.setdefault('id', str(uuid.uuid4()))
        return objects.Snapshot(
            context.get_admin_context(), volume_id=volume.id, volume=volume,
            volume_size=volume.size, **updates)

    def taken(self, volume):
        snapshot = self.make_snapshot(volume)
        self.driver.create_snapshot(snapshot)
        return snapshot

    def created(self, **kwargs):
        volume = self.make_volume(**kwargs)
        self.driver.create_volume(volume)
        return volume

    def failure(self, kind, call, *args, **kwargs):
        """The exception of that kind that the call raises."""
        with self.assertRaises(kind) as caught:
            call(*args, **kwargs)
        return caught.exception

    def make_type(self, specs=None, consumer='back-end', **extra):
        """A volume type. -> objects.VolumeType"""
        name = f'type-{len(volume_types.get_all_types(self.admin))}'
        made = volume_types.create(
            self.admin, name,
            {key.replace('__', ':'): value for key, value in extra.items()})
        if specs is not None:
            qos = qos_specs.create(self.admin, name,
                                   dict(specs, consumer=consumer))
            qos_specs.associate_qos_with_type(self.admin, qos.id, made.id)
        return objects.VolumeType.get_by_id(self.admin, made.id)

    def make_group(self, consistent=True):
        """A group of a type of its own, which is in Cinder's tables."""
        specs = {CONSISTENT: '<is> True'} if consistent else {}
        name = f'group-type-{len(group_types.get_all_group_types(self.admin))}'
        made = group_types.create(self.admin, name, specs)
        return objects.Group(self.admin, id=str(uuid.uuid4()), name='a group',
                             group_type_id=made.id)

    def make_group_snapshot(self, group):
        return objects.GroupSnapshot(self.admin, id=str(uuid.uuid4()),
                                     group_id=group.id,
                                     group_type_id=group.group_type_id)

    def recorded_volume(self, **updates):
        """A volume that is in Cinder's tables."""
        volume = objects.Volume(self.admin, size=1,
                                host='vm@ashlar-1#default', **updates)
        volume.volume_type_id = self.make_type().id
        volume.create()
        return volume

    def recorded_snapshot(self, volume, **updates):
        """A snapshot that is in Cinder's tables."""
        snapshot = objects.Snapshot(self.admin, volume_id=volume.id,
                                    volume_size=volume.size,
                                    volume_type_id=volume.volume_type_id,
                                    **updates)
        snapshot.create()
        return snapshot

    @property
    def api(self):
        return self.driver._api

    def hosts(self, volume):
        return self.cluster.hosts[volume.name_id]


def cinder_tables():
    """Make Cinder's tables in memory. -> what forgets them"""
    try:
        from cinder.db.sqlalchemy import api
        from cinder.db.sqlalchemy import models
    except ImportError:  # moved after 2023.1
        from cinder.db import api
        from cinder.db import models
    engine = api.main_context_manager.writer.get_engine()
    metadata = models.BASE.metadata
    # SQLite cannot have the key that this one has; nobody here needs it.
    tables = [table for table in metadata.sorted_tables
              if table.name != 'workers']
    metadata.create_all(engine, tables=tables)
    return lambda: metadata.drop_all(engine, tables=tables)
