"""Real workers in processes of their own, over an outbox in PostgreSQL and in SQLite."""

import signal
from collections import Counter

import psycopg
import pytest

from safeklaviyo import Klaviyo
from safeklaviyo.cli import main
from safeklaviyo.testing import KlaviyoSimulator
from support.engines import shop_in_a_file, shop_on_postgres
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


@pytest.mark.slow
def test_a_worker_polls_an_outbox_in_sqlite(tmp_path):
    """Nothing tells it of rows there: it looks, and delivers."""
    simulator = KlaviyoSimulator(account="shop", queue_lag=0.0, clock="real")
    store = f"sqlite:///{tmp_path}/shop.db"
    with simulator.serve() as base, Klaviyo("pk_shop", account="shop", store=store, base_url=base) as klaviyo:
        environment = {"KLAVIYO_API_KEY": "pk_shop", "KLAVIYO_BASE_URL": base, "SAFEKLAVIYO_STORE": store}
        with running(tmp_path, *WORKER, **environment) as worker:
            until(lambda: "draining the outbox" in worker.output(), watched=[worker])
            key = klaviyo.outbox.track("A", external_id="c1", email="c1@shop.test").unique_id
            until(lambda: not klaviyo.outbox.counts().waiting, watched=[worker])
            assert 0 == worker.end(signal.SIGINT)
        simulator.drain()
    assert [key] == [each.unique_id for each in simulator.events]


@pytest.mark.slow
def test_the_lanes_of_a_worker_that_is_killed_over_sqlite_go_on_when_their_lease_ends(tmp_path):
    """Another worker, which has found them held until then, takes them within a second of that."""
    with shop_in_a_file(tmp_path) as shop:
        shop.know(8)
        shop.simulator.fail_next("create_event", delay=5.0, times=4)  # so that requests are under way when it is killed
        shop.queue(8, 8)
        killed = (str(SHOPS / "shop_worker.py"),)
        environment = shop.environment | {"SHOP_DEADLINE": "1"}
        with running(tmp_path, *killed, **environment) as first:
            until(lambda: len(shop.held()) >= 4, watched=[first])
            first.kill_all()
        ends = max(shop.held().values())
        with running(tmp_path, *killed, **environment) as second:
            until(lambda: not shop.waiting(), watched=[second])
        late = shop.now() - ends
        print(f"the last row was delivered {late:.2f} s after the last lease had ended")
        assert late <= 1.0
        assert {"lost": 0, "doubled": 0, "disordered": 0} == shop.faults()


@pytest.mark.slow
@pytest.mark.parametrize(("again", "code"), [(False, 3), (True, 143)])
def test_a_worker_that_is_held_up_ends_in_time(tmp_path, again, code):
    """The first signal waits for the row in hand, but no longer than it may; the second one waits for nothing."""
    grace = "60" if again else "1"
    with shop_on_postgres() as shop, running(tmp_path, *WORKER, "--grace", grace, **shop.environment) as worker:
        shop.know(1)
        shop.simulator.fail_next("create_event", delay=30.0)
        shop.queue(1, 1)
        until(shop.held, watched=[worker])
        worker.send_signal(signal.SIGTERM)
        if again:
            until(lambda: "stopping" in worker.output(), watched=[worker])
            worker.send_signal(signal.SIGTERM)
        assert code == worker.wait(20)


def test_a_worker_that_cannot_begin_says_why(monkeypatch, capsys, tmp_path):
    """In one line, and with the exit code of a failure, before it starts a thread."""
    monkeypatch.setenv("SAFEKLAVIYO_STORE", f"sqlite:///{tmp_path}/map.db")
    assert 1 == main(["worker"])
    assert "which account?" in capsys.readouterr().err
    monkeypatch.setenv("SAFEKLAVIYO_STORE", "redis://127.0.0.1:1/0")
    assert 1 == main(["worker", "--account", "shop"])
    assert "the outbox needs a database" in capsys.readouterr().err


def test_a_worker_of_another_account_says_so(tmp_path):
    """It finds the rows of the other one, and asks Klaviyo for the key's account. A missing key is told at once."""
    simulator = KlaviyoSimulator()
    with simulator.serve() as base, Klaviyo("pk_x", account="SiMuLa", store=f"sqlite:///{tmp_path}/map.db") as k:
        k.outbox.track("E", external_id="c-1", email="ada@shop.test")
        environment = {"KLAVIYO_BASE_URL": base, "SAFEKLAVIYO_STORE": f"sqlite:///{tmp_path}/map.db"}
        arguments = ("-m", "safeklaviyo", "worker", "--account", "OtherA")
        with running(tmp_path, *arguments, KLAVIYO_API_KEY="pk_x", **environment) as worker:
            until(lambda: "the key is of the account SiMuLa" in worker.output(), watched=[worker])
            assert "rows of other accounts wait in this outbox (SiMuLa)" in worker.output()
            worker.send_signal(signal.SIGTERM)
            assert 0 == worker.wait(20)
        with running(tmp_path, *arguments, KLAVIYO_API_KEY="", **environment) as worker:
            until(lambda: "draining the outbox" in worker.output(), watched=[worker])
            assert "there is no API key" in worker.output()
        assert (1, []) == (k.outbox.counts().waiting, list(simulator.events))
