"""The worker by itself: which lane it drains next, how it stops, and what it tells others."""

import json
import logging
import os
import socket
import sqlite3
import time
from contextlib import closing
from dataclasses import astuple
from threading import Thread
from types import SimpleNamespace

import pytest

from safeklaviyo import Klaviyo
from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.testing import KlaviyoSimulator
from support.outbox import asked_of, calls, sqlite_statements_of
from support.worker import (
    NOT_IN_TIME,
    STOPPED,
    Agenda,
    Chores,
    Health,
    HealthFile,
    Limits,
    Notifier,
    OfKlaviyo,
    PretendClient,
    Worker,
    check,
    warn_at_start,
)

QUICK = Limits(threads=2, sweep=0.01, grace=5)


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


def hear_all(heard):
    """Receive whatever comes."""
    while True:
        heard.recv(999)


class TestAgenda:
    def test_lanes_come_in_the_order_in_which_they_were_woken(self, clock):
        """A lane with many rows goes to the end of the queue again, so that it keeps no other waiting."""
        agenda = Agenda(clock)
        agenda.wake([1, 2])
        first = agenda.take()
        agenda.done(first, has_more=True)
        assert [1, 2, 1] == [first, agenda.take(), agenda.take()]

    def test_a_lane_is_in_one_hand(self, clock):
        """A lane that is being drained is given to no other thread, and comes again where it was woken meanwhile."""
        agenda = Agenda(clock)
        agenda.wake([7])
        assert 7 == agenda.take()
        agenda.wake([7, 8])
        assert 8 == agenda.take()
        agenda.done(7, has_more=False)
        assert 7 == agenda.take()
        agenda.done(7, has_more=False)
        agenda.close()
        assert None is agenda.take()

    def test_a_lane_that_failed_waits_longer_each_time(self, clock):
        """It is woken by nothing before its pause is over, and a success ends the series."""
        agenda = Agenda(clock)
        pauses = []
        for _ in range(9):
            agenda.wake([1])
            assert 1 == agenda.take()
            pauses.append(agenda.failed(1))
            agenda.wake([1, 2])
            assert 2 == agenda.take()  # and not 1
            agenda.done(2, has_more=False)
            clock.now += pauses[-1]
        assert [1, 2, 4, 8, 16, 32, 60, 60, 60] == pauses
        agenda.wake([1])
        agenda.done(agenda.take(), has_more=False)
        agenda.wake([1])
        agenda.take()
        assert 1 == agenda.failed(1)


class TestRunning:
    def test_it_drains_all_lanes_until_it_is_told_to_stop(self):
        """A lane with more rows than one run comes again at once."""
        client = PretendClient({3: 2500, 5: 10})
        worker = Worker(client, QUICK, Notifier({}))
        thread = Thread(target=lambda: client.done.wait(10) and worker.stop())
        thread.start()
        assert STOPPED == worker.run()
        thread.join()
        assert [(3, 500), (3, 1000), (3, 1000), (5, 10)] == sorted(client.drained)

    def test_it_ends_the_run_in_hand_and_begins_no_other(self):
        """The row that it was told to stop at is done; the rest of the lane stays."""
        client = PretendClient({3: 2500})
        client.may_end.clear()
        worker = Worker(client, QUICK, Notifier({}))
        status = []
        thread = Thread(target=lambda: status.append(worker.run()))
        thread.start()
        client.in_hand.wait(10)
        worker.stop()
        client.may_end.set()
        thread.join(10)
        assert ([STOPPED], [(3, 1)]) == (status, client.drained)

    def test_it_waits_no_longer_than_it_may(self, caplog):
        """A run that does not end is left to others, and the exit code says so."""
        client = PretendClient({3: 1})
        client.may_end.clear()
        worker = Worker(client, Limits(threads=1, sweep=0.01, grace=0.05), Notifier({}))
        Thread(target=lambda: client.in_hand.wait(10) and worker.stop()).start()
        with caplog.at_level(logging.WARNING, "safeklaviyo.worker"):
            assert NOT_IN_TIME == worker.run()
        assert "stopped before a run in hand was done" in caplog.text
        client.may_end.set()

    def test_no_failure_ends_it(self, caplog):
        """An outbox that is away, or what nobody foresaw, is logged by its class, and the lane comes again."""
        failures = [StoreUnavailableError("the outbox is away"), ValueError("ada@shop.test")]
        client = PretendClient({1: 5, 2: 5, 3: 5}, failures)
        worker = Worker(client, QUICK, Notifier({}))
        Thread(target=lambda: client.done.wait(10) and worker.stop()).start()
        with caplog.at_level(logging.WARNING, "safeklaviyo.worker"):
            assert STOPPED == worker.run()
        assert ["ada" in caplog.text, True] == [False, "the outbox is away" in caplog.text]
        assert 3 == len(client.drained)

    def test_h23_it_says_how_many_rows_of_erased_customers_it_has_dropped(self, caplog):
        """These rows are not kept, so nothing else could tell of them."""
        client = PretendClient({1: 5, 2: 5})
        client.dropped = {1: 2, 2: 1}
        worker = Worker(client, QUICK, Notifier({}))
        Thread(target=lambda: client.done.wait(10) and worker.stop()).start()
        with caplog.at_level(logging.INFO, "safeklaviyo.worker"):
            assert STOPPED == worker.run()
        assert "dropped 3 rows of erased customers" in caplog.text

    def test_a_drain_does_not_count_what_is_left(self, simulator, tmp_path):
        """To count a million rows takes longer than to carry a thousand out, and a worker drains a lane at a time."""
        with simulator.client(store="memory://", outbox=f"sqlite:///{tmp_path}/shop.db", account="SiMuLa") as k:
            for _ in range(3):
                k.outbox.track("E", external_id="c-1", email="ada@shop.test")
            (lane,) = k.outbox.lanes()
            asked = asked_of(k)
            assert (3, 0, 0) == astuple(OfKlaviyo(k).drain(lane, 10))
            assert {calls.Take, calls.Mark, calls.Delete} <= asked
            assert asked.isdisjoint({calls.CountLeft, calls.CountRows})

    def test_dead_rows_are_counted_without_a_look_at_the_others(self, simulator, tmp_path):
        """A worker counts them each minute, while a million rows may wait."""
        with simulator.client(store="memory://", outbox=f"sqlite:///{tmp_path}/shop.db", account="SiMuLa") as k:
            k.identify(external_id="c-1", email="ada@shop.test")
            k.outbox.track("E", external_id="c-1", email="other@shop.test")
            assert 1 == k.outbox.drain().dead
            k.outbox.track("E", external_id="c-1")
            asked = asked_of(k)
            assert (1, {calls.CountDead}) == (OfKlaviyo(k).count_dead(), asked)

    def test_other_accounts_are_found_without_a_look_at_the_rows(self, simulator, tmp_path, caplog):
        """A worker tells of them when it starts, while a million rows of its own account may wait."""
        url = f"sqlite:///{tmp_path}/shop.db"
        for account in ("AbC123", "SiMuLa", "aBc999", "XyZ123"):
            with simulator.client(store="memory://", outbox=url, account=account) as k:
                warn_at_start(k)
                if account != "aBc999":
                    k.outbox.track("E", external_id="c-1", email="ada@shop.test")
        told = [each.args for each in caplog.records if each.name == "safeklaviyo.worker"]
        assert [("AbC123",), ("AbC123, SiMuLa",), ("AbC123, SiMuLa",)] == told
        with simulator.client(store="memory://", outbox=url, account="SiMuLa") as k:
            asked = asked_of(k)
            warn_at_start(k)
            assert {calls.OtherAccounts} == asked
        with closing(sqlite3.connect(tmp_path / "shop.db")) as db:
            for sql, parameters in sqlite_statements_of(calls.OtherAccounts("SiMuLa")):
                plan = " ".join(row[-1] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))
                assert ["INDEX safeklaviyo_outbox_" in plan, "TEMP B-TREE" in plan] == [True, False]

    def test_a_missing_key_is_told_at_once(self, tmp_path, caplog):
        """And not only when the first row could not be delivered; with a key there is nothing to tell."""
        for key in (None, "pk_x"):
            with Klaviyo(key, store=f"sqlite:///{tmp_path}/map.db", account="SiMuLa") as k:
                warn_at_start(k)
        [told] = [each.getMessage() for each in caplog.records if each.name == "safeklaviyo.worker"]
        assert told.startswith("there is no API key")


class TestHealth:
    def test_a_worker_writes_that_it_is_well(self, tmp_path):
        """The file is there while it runs, and gone afterwards."""
        path = tmp_path / "health"
        client = PretendClient({1: 3})
        worker = Worker(client, QUICK, Notifier({}), HealthFile(path))
        seen = []
        Thread(target=lambda: (client.done.wait(10), seen.append(check(path)), worker.stop())).start()
        assert STOPPED == worker.run()
        assert ([None], False) == (seen, path.exists())

    def test_a_file_tells_what_is_wrong(self, tmp_path):
        """None, an old one, one of a stuck worker, and one that is none are bad news; a failing worker is alive."""
        path = tmp_path / "health"
        file = HealthFile(path)
        assert "there is no file" in check(path)
        file.write(Health("failing", 1, 0, 2, "StoreUnavailableError"))
        assert None is check(path)
        assert "nothing for" in check(path, now=time.time() + 60)
        file.write(Health("stuck", 1, 0, 2))
        assert "the worker is stuck" == check(path)
        path.write_text("[]")
        assert "cannot be read" in check(path)

    def test_the_file_names_the_process_and_no_customer(self, tmp_path):
        """Numbers, and the class of the last failure."""
        HealthFile(tmp_path / "health").write(Health("working", 7, 1, 0))
        found = json.loads((tmp_path / "health").read_text())
        assert {"pid", "at", "state", "delivered", "dropped", "failures", "error"} == set(found)
        assert os.getpid() == found["pid"]


class TestSystemd:
    @pytest.fixture
    def heard(self, tmp_path):
        """The socket of a pretend systemd."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(str(tmp_path / "notify"))
            listening.settimeout(5)
            yield listening

    def test_it_hears_that_a_worker_is_ready_alive_and_stopping(self, heard):
        """In that order, and the variables are left to no child."""
        environment = {
            "NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid()), "A": "b",
        }  # fmt: skip
        client = PretendClient({1: 1})
        worker = Worker(client, QUICK, Notifier(environment))
        thread = Thread(target=worker.run)
        thread.start()
        states = [heard.recv(999).decode()]
        while not states[-1].startswith("WATCHDOG"):
            states.append(heard.recv(999).decode())
        worker.stop()
        thread.join()
        while not states[-1].startswith("STOPPING"):
            states.append(heard.recv(999).decode())
        told = [each for each in dict.fromkeys(states) if not each.startswith("STATUS")]
        assert ["READY=1", "WATCHDOG=1", "STOPPING=1\nEXTEND_TIMEOUT_USEC=10000000"] == told
        assert {"A": "b"} == environment

    def test_a_stuck_worker_is_not_alive(self, heard, caplog):
        """A thread that makes no step keeps the worker from telling systemd, which then starts it again."""
        client = PretendClient({1: 1})
        client.may_end.clear()
        environment = {"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": "20000"}
        worker = Worker(client, Limits(threads=1, sweep=0.01, grace=5, stuck=0.05), Notifier(environment))
        thread = Thread(target=worker.run)
        thread.start()
        client.in_hand.wait(10)
        heard.settimeout(0.3)
        with pytest.raises(TimeoutError):  # nothing comes for much longer than the watchdog waits
            hear_all(heard)
        client.may_end.set()
        worker.stop()
        thread.join()

    def test_it_is_asked_of_this_process_alone(self):
        """The variables of another process, or nonsense, ask for nothing."""
        for asked in ({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}, {}):
            assert None is Notifier(dict(asked)).watchdog
        assert 0.5 == Notifier({"WATCHDOG_USEC": "500000"}).watchdog

    def test_nobody_listens(self, tmp_path):
        """A socket that is gone ends no worker; an abstract one is understood."""
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            name = f"safeklaviyo-{os.getpid()}"
            listening.bind(f"\0{name}")
            Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready()
            assert b"READY=1" == listening.recv(99)


class TestChores:
    def test_each_comes_in_its_time(self, clock):
        """Recovering every few minutes, rechecking with repairs every hour, counting every minute."""
        client = PretendClient()
        chores = Chores(client, clock, 0.0)
        for _ in range(3600):
            chores.run_due()
            clock.now += 1
        counted = {name: client.calls.count(name) for name in set(client.calls)}
        assert {"count": 60, "recover": 20, "recheck": 1, "compare": 1} == counted

    def test_dead_rows_are_told_once_an_hour(self, clock, caplog):
        """However often they are counted, and again in the next hour."""
        chores = Chores(PretendClient(dead=3), clock, 0.0)
        with caplog.at_level(logging.WARNING, "safeklaviyo.worker"):
            for _ in range(125):
                chores.run_due()
                clock.now += 60
        assert 3 == caplog.text.count("3 rows of the outbox are dead")

    def test_the_key_is_compared_until_klaviyo_has_answered(self, clock, caplog):
        """A key of another account delivers nothing of this worker's; that is told once."""
        client = PretendClient()
        client.others = [StoreUnavailableError("away"), "AbC123", "never asked"]
        chores = Chores(client, clock, 0.0)
        for _ in range(100):
            chores.run_due()
            clock.now += 60
        assert 2 == client.calls.count("compare")
        [told] = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert told.getMessage().startswith("the key is of the account AbC123, which is not this worker's")

    def test_a_failure_hides_nothing_else(self, clock, caplog):
        """What failed is logged by its class, and comes again; the others are done."""
        client = PretendClient(failures=[ValueError("ada@shop.test")])
        chores = Chores(client, clock, 0.0)
        chores.run_due()
        clock.now += 200
        chores.run_due()
        assert 2 == client.calls.count("recover")
        assert ["ada" in caplog.text, True] == [
            False,
            "recover failed, and will be done again: ValueError" in caplog.text,
        ]


def test_a_health_file_that_cannot_be_written_ends_nothing(tmp_path, caplog):
    """The worker goes on, and a probe finds no file."""
    client = PretendClient({1: 1})
    worker = Worker(client, QUICK, Notifier({}), HealthFile(tmp_path / "missing" / "health"))
    Thread(target=lambda: client.done.wait(10) and worker.stop()).start()
    assert STOPPED == worker.run()
    assert "the health file cannot be written: FileNotFoundError" in caplog.text


def test_it_drains_a_lane_of_which_it_hears():
    """What is told between two looks is drained at once."""
    client = PretendClient({9: 1})
    client.lanes = lambda: ()

    def listen(wake, stopping):
        wake((9,))
        stopping.wait(10)

    worker = Worker(client, Limits(threads=1, sweep=60), Notifier({}), listen=listen)
    Thread(target=lambda: client.done.wait(10) and worker.stop()).start()
    assert STOPPED == worker.run()
    assert [(9, 1)] == client.drained


class TestTold:
    def test_what_the_chores_have_found(self, clock, caplog):
        """How many changes were finished, and what rechecking found, by kind and without a name."""
        client = PretendClient()
        client.found = [SimpleNamespace(finding="ghost", email="ada@shop.test")] * 2
        client.recovered = [object()]
        with caplog.at_level(logging.INFO, "safeklaviyo.worker"):
            Chores(client, clock, 0.0).run_due()
            clock.now += 4000
            chores = Chores(client, clock, 0.0)
            clock.now += 4000
            chores.run_due()
        assert "finished 1 interrupted changes" in caplog.text
        assert "rechecking changed customers found 2: ghost" in caplog.text
        assert "ada" not in caplog.text

    def test_an_outbox_that_cannot_be_looked_at(self, caplog):
        """It is looked at again, and the health file says that the worker is failing until then."""
        client = PretendClient()
        tries = iter([StoreUnavailableError("the outbox is away"), None])

        def lanes():
            if failure := next(tries):
                raise failure
            return ()

        client.lanes = lanes
        worker = Worker(client, QUICK, Notifier({}))
        worker.stop()
        worker._look()
        assert ("StoreUnavailableError", 1) == (worker._tally.error, worker._tally.failures)
        worker._look()
        assert None is worker._tally.error
        assert "the outbox is away" in caplog.text

    def test_a_worker_has_the_verbs_of_a_client(self):
        """Recovering and rechecking are those of `Klaviyo`."""
        with closing(KlaviyoSimulator().client()) as klaviyo:
            client = OfKlaviyo(klaviyo)
            assert ([], [], 0) == (client.recover(10), client.recheck(), client.count_dead())

    @pytest.mark.parametrize(
        ("account", "answer", "expected"),
        [
            ("SiMuLa", None, None),
            ("OtherA", None, "SiMuLa"),
            ("a-name-of-the-shops-own", None, None),
            ("OtherA", {"status": 403}, None),
            ("OtherA", {"status": 200, "body": {"data": []}}, None),
        ],
    )
    def test_the_account_of_the_key(self, simulator, account, answer, expected):
        """Another one is found as `doctor` finds it. What is not known is none, as is a name of the shop's own."""
        with simulator.client(account=account) as klaviyo:
            klaviyo.outbox.counts()
            if answer:
                simulator.fail_next("get_accounts", **answer)
            assert expected == OfKlaviyo(klaviyo).other_account()
            # A name of the shop's own can be compared with nothing, so that Klaviyo is not even asked.
            assert len(simulator.journal) == (1 if len(account) == 6 else 0)

    def test_klaviyo_is_not_asked_without_a_key(self, tmp_path):
        """The missing key was told at the start."""
        with Klaviyo(store=f"sqlite:///{tmp_path}/map.db", account="SiMuLa") as klaviyo:
            assert None is OfKlaviyo(klaviyo).other_account()
