"""The store in memory and the one in PostgreSQL give the same answers to the same operations, whatever these are."""

import pytest
from hypothesis import HealthCheck, settings
from test_store_agreement import Agreement

from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.stores.postgres import PostgresStore
from safeklaviyo.testing.contract import ManualClock
from support.examples import examples
from support.postgres_servers import ServerClock, connect, emptied, migrated, own_database


class TwoClocks:
    """One time for both stores."""

    def __init__(self, admin, now):
        self.manual = ManualClock(now)
        self._server = ServerClock(admin, now=now)

    def advance(self, seconds):
        self.manual.advance(seconds)
        self._server.advance(seconds)


class PostgresAgreement(Agreement):
    """Both stores side by side, on one time."""

    database = None

    def __init__(self):
        super().__init__()
        self.stores[1].close()
        self.admin = connect(self.database)
        emptied(self.admin)
        self.clock = TwoClocks(self.admin, 1000.0)
        self.stores = (MemoryStore(clock=self.clock.manual), PostgresStore(connection=self.admin))

    def teardown(self):
        super().teardown()
        self.admin.close()


PostgresAgreement.TestCase.settings = settings(
    max_examples=examples(15),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class TestPostgresAgreement(PostgresAgreement.TestCase):
    """Memory and PostgreSQL agree."""

    @pytest.fixture(autouse=True)
    def database(self):
        with own_database() as url:
            PostgresAgreement.database = migrated(url)
            yield
