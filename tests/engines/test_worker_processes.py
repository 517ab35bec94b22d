"""Real workers in processes of their own, over an outbox in PostgreSQL and in SQLite."""

from collections import Counter

import psycopg
import pytest

from support.engines import shop_on_postgres
from support.pace import ENDPOINT
from support.postgres_servers import end_all
from support.programs import SHOPS, running, until

PACING = SHOPS / "pacing.py"
WORKER = ("-m", "safeklaviyo", "worker", "--account", "shop")


@pytest.fixture(scope="module")
def shop():
    """A shop with some customers."""
    with shop_on_postgres() as opened:
        opened.know(10)
        yield opened


def test_workers_share_the_rows_and_stop_when_told(shop, tmp_path):
    """Two deliver all in order, also after the database has ended every connection; SIGTERM ends each with 0."""
    health = tmp_path / "health"
    shop.queue(100, 10)
    with (
        running(tmp_path, *WORKER, "--health", str(health), **shop.environment) as first,
        running(tmp_path, *WORKER, **shop.environment) as second,
    ):
        until(lambda: not shop.waiting(), watched=[first, second])
        with psycopg.connect(shop.url, autocommit=True) as admin:
            end_all(admin)
        shop.queue(100, 10, start=100)
        until(lambda: not shop.waiting(), watched=[first, second])
        with running(tmp_path, *WORKER, "--check", str(health), **shop.environment) as probe:
            assert 0 == probe.wait(30)
        assert [0, 0] == [first.end(), second.end()]
    assert {"lost": 0, "doubled": 0, "disordered": 0} == shop.faults()
    assert "shop.test" not in first.output() + second.output()
    assert "INFO safeklaviyo.worker: stopped" in first.output()


@pytest.mark.slow
def test_processes_share_one_pace(shop, tmp_path):
    """Three that send as fast as they may stay below the limit of a second together, and use it."""
    with (
        running(tmp_path, str(PACING), shop.url, "3") as first,
        running(tmp_path, str(PACING), shop.url, "3") as second,
        running(tmp_path, str(PACING), shop.url, "3") as third,
    ):
        assert [0, 0, 0] == [each.wait(60) for each in (first, second, third)]
    counted = Counter(int(float(at)) for each in (first, second, third) for at in each.output().split())
    assert max(counted[second] + counted[second + 1] for second in counted) <= ENDPOINT.burst
    assert sum(counted.values()) >= ENDPOINT.burst
