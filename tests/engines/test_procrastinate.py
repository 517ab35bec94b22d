"""procrastinate: the outbox drained by real workers, whose jobs keep the order of each customer."""

import time
from contextlib import ExitStack

import psycopg
import pytest

from support.engines import shop_on_postgres
from support.examples import examples
from support.programs import SHOPS, importable, running, until

WORKER = str(SHOPS / "shop_procrastinate.py")


@pytest.fixture(scope="module")
def shop():
    """A shop whose database has procrastinate's tables."""
    with shop_on_postgres() as opened, pytest.MonkeyPatch.context() as patch:
        shop_procrastinate = importable(patch, "shop_procrastinate", opened.environment)
        with shop_procrastinate.app.open():
            shop_procrastinate.app.schema_manager.apply_schema()
        opened.know(20)
        yield opened
        shop_procrastinate.klaviyo.close()


def jobs(shop, status):
    """Count the jobs."""
    with psycopg.connect(shop.url) as connection:
        return connection.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = %s", (status,)).fetchone()[0]


@pytest.mark.slow
def test_workers_deliver_in_order_and_leave_no_jobs(shop, tmp_path):
    """Each second the lanes with rows are drained, by whichever worker; what is done is deleted."""
    shop.queue(200, 20)
    with (
        running(tmp_path, WORKER, **shop.environment) as first,
        running(tmp_path, WORKER, **shop.environment) as second,
    ):
        until(lambda: not shop.waiting(), watched=[first, second])
        assert [0, 0] == [first.end(), second.end()]
    assert {"lost": 0, "doubled": 0, "disordered": 0} == shop.faults()
    assert [0, 0] == [jobs(shop, "failed"), jobs(shop, "succeeded")]
    assert "delete_jobs" not in first.output() + second.output()


@pytest.mark.slow
def test_killed_workers_break_no_order(shop, tmp_path):
    """Of several thousand events none is lost, doubled or out of its customer's order, also after SIGKILLs."""
    events = examples(4000)
    shop.queue(events, 20, start=200)
    done = 0
    with ExitStack() as opened:
        workers = [opened.enter_context(running(tmp_path, WORKER, **shop.environment, SHOP_DEADLINE="1"))]
        while left := shop.waiting():
            if events - left >= done + events // 4:
                done = events - left
                workers[-1].kill_all()
                workers.append(opened.enter_context(running(tmp_path, WORKER, **shop.environment, SHOP_DEADLINE="1")))
            time.sleep(0.2)
        workers[-1].end()
    assert len(workers) > 2
    assert {"lost": 0, "doubled": 0, "disordered": 0} == shop.faults()
