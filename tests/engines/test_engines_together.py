"""Several engines drain one outbox in PostgreSQL at once, are killed, and lose, double and disorder nothing."""

import random
import time
from contextlib import ExitStack

import pytest

from support.engines import shop_on_postgres
from support.examples import examples
from support.programs import SHOPS, importable, running, until
from support.redis_servers import shared_prefix, url_or_skip

WORKER = (str(SHOPS / "shop_worker.py"),)
CELERY = (
    "-m",
    "celery",
    "-A",
    "shop_celery",
    "worker",
    "--pool",
    "prefork",
    "--concurrency",
    "2",
    "-B",
    "-l",
    "WARNING",
)
PROCRASTINATE = (str(SHOPS / "shop_procrastinate.py"),)
CUSTOMERS = 40


@pytest.fixture(scope="module")
def shop():
    """A shop whose database has the tables of all engines."""
    with ExitStack() as opened:
        shop = opened.enter_context(shop_on_postgres())
        patch = opened.enter_context(pytest.MonkeyPatch.context())
        shop.environment |= {
            "SHOP_REDIS": url_or_skip(), "SHOP_PREFIX": opened.enter_context(shared_prefix()), "SHOP_DEADLINE": "1",
        }  # fmt: skip
        shop_procrastinate = importable(patch, "shop_procrastinate", shop.environment)
        with shop_procrastinate.app.open():
            shop_procrastinate.app.schema_manager.apply_schema()
        shop_procrastinate.klaviyo.close()
        shop.know(CUSTOMERS)
        yield shop


@pytest.mark.slow
def test_engines_that_are_killed_lose_double_and_disorder_nothing(shop, tmp_path):
    """Two workers, procrastinate and Celery; each second one of them is killed with its children, and run again."""
    events = examples(8000)
    chosen = random.Random(7)
    kinds = [WORKER, WORKER, PROCRASTINATE, CELERY]
    with ExitStack() as opened:
        engines = [opened.enter_context(running(tmp_path, *kind, **shop.environment)) for kind in kinds]
        queued = kills = 0
        while queued < events or shop.waiting():
            if queued < events:
                shop.queue(200, CUSTOMERS, start=queued)
                queued += 200
            time.sleep(1)
            which = chosen.randrange(len(kinds))
            if kills < examples(40):
                kills += 1
                engines[which].kill_all()
                engines[which] = opened.enter_context(running(tmp_path, *kinds[which], **shop.environment))
        print(f"{events} events, {kills} kills, {shop.faults()}")
    assert {"lost": 0, "doubled": 0, "disordered": 0} == shop.faults()


@pytest.mark.slow
def test_the_lanes_of_a_killed_worker_go_on_when_their_lease_ends(shop, tmp_path):
    """Another worker, which has found them held until then, takes them within a second of that."""
    shop.simulator.fail_next("create_event", delay=5.0, times=4)  # so that requests are under way when it is killed
    shop.queue(8, 8, start=shop.queued_total())
    with running(tmp_path, *WORKER, **shop.environment) as first:
        until(lambda: len(shop.held()) >= 4, watched=[first])
        first.kill_all()
    ends = max(shop.held().values())
    with running(tmp_path, *WORKER, **shop.environment) as second:
        until(lambda: not shop.waiting(), watched=[second])
    late = shop.now() - ends
    print(f"the last row was delivered {late:.2f} s after the last lease had ended")
    assert late <= 1.0
    assert {"lost": 0, "doubled": 0, "disordered": 0} == shop.faults()
