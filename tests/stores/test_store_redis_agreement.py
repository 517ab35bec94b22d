"""The store in memory and the one in Redis give the same answers to the same operations, whatever these are."""

import pytest
import redis
from hypothesis import HealthCheck, settings
from test_store_agreement import Agreement
from test_store_redis import ClockedClient

from safeklaviyo.stores.redis import RedisStore
from support.examples import examples
from support.redis_servers import shared_prefix, url_or_skip

TICK = 1 / 64  # seconds: a whole number of microseconds, and exact in binary


class TickingClient(ClockedClient):
    """A client for which some time passes with each call, as it does for any server: tokens begin with the time."""

    def execute_command(self, *args, **options):
        reply = super().execute_command(*args, **options)
        self._clock.advance(TICK)
        return reply


class RedisAgreement(Agreement):
    """Both stores side by side, on one clock; memory is asked first."""

    def __init__(self):
        super().__init__()
        self.stores[1].close()
        self.given = shared_prefix()
        self.client = redis.Redis.from_url(url_or_skip())
        store = RedisStore(TickingClient(self.client, self.clock), prefix=self.given.__enter__())
        self.stores = (self.stores[0], store)

    def teardown(self):
        super().teardown()
        self.client.close()
        self.given.__exit__(None, None, None)


RedisAgreement.TestCase.settings = settings(
    max_examples=examples(20),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class TestRedisAgreement(RedisAgreement.TestCase):
    """Memory and Redis agree."""

    @pytest.fixture(autouse=True)
    def server(self):
        """Skip before anything is made, where no server is."""
        url_or_skip()
