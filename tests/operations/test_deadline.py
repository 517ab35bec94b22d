"""The deadline of a call: leases, pacing, retries, requests and the map together take no longer (capabilities §0)."""

from __future__ import annotations

import math
import random
import socket
import time
from contextlib import ExitStack, suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo import (
    AsyncKlaviyo,
    ConfigurationError,
    DeadlineExceededError,
    EmailMismatchError,
    Klaviyo,
    LeaseHeldError,
    NoResponseError,
    Policy,
    RateLimitError,
    RetryableError,
    RetryPolicy,
    SafeKlaviyoError,
    StoreUnavailableError,
)
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.stores.sqlite import SqliteStore
from safeklaviyo.testing import KlaviyoSimulator
from support.clients import opened
from support.peers import DRIPS, answer, garble, listening, next_request, reset, silent
from support.scenes import hold, rejected

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.clients import NewClient, OpenClient

ANN: dict[str, Any] = {"external_id": "ann-1", "email": "ann@shop.dev"}
LATE = 0.4
"""Seconds by which a busy machine may notice the end of a call, besides the tenth that is allowed."""


class TestInSimulatedTime:
    def test_a_lease_is_not_waited_for_beyond_it(
        self, client: NewClient, store: MemoryStore, simulator: KlaviyoSimulator
    ) -> None:
        """A call that waits for another's lease ends with its deadline, and names the lease as the cause."""
        hold(store, Identifier(Kind.EMAIL, "ann@shop.dev"), ttl=600.0)
        began = simulator.now()
        error = rejected(client(deadline=5.0).identify, **ANN)
        assert (DeadlineExceededError, LeaseHeldError) == (type(error), type(error.__cause__))
        assert ("not_applied", True, "R13") == (error.outcome, error.may_retry, error.rule)
        assert simulator.now() - began <= 5.5

    def test_a_shorter_patience_is_told_as_such(self, client: NewClient, store: MemoryStore) -> None:
        """Where the policy's own limit ends the waiting first, the error is the lease's."""
        hold(store, Identifier(Kind.EMAIL, "ann@shop.dev"), ttl=600.0)
        error = rejected(client(deadline=60.0, policy=Policy(wait=3)).identify, **ANN)
        assert LeaseHeldError is type(error)

    def test_a_retry_after_beyond_it_is_not_waited_for(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """The call ends at once, says when to come back, and keeps the event's key and time."""
        k = client(deadline=5.0)
        k.identify(**ANN)
        simulator.fail_next("create_event", status=429, headers={"Retry-After": "20"})
        began = simulator.now()
        error = rejected(k.track, "Ordered", unique_id="order-1", **ANN)
        assert (DeadlineExceededError, RateLimitError) == (type(error), type(error.__cause__))
        assert ("not_applied", True, 20.0, "order-1") == (
            error.outcome, error.may_retry, error.retry_after, error.unique_id,
        )  # fmt: skip
        assert error.time is not None
        assert simulator.now() == began

    def test_a_refusal_stays_what_it_is(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """What the rules refuse is refused, however late it is: more time would not have helped."""

        class Slow(MemoryStore):
            def perform(self, call: Any) -> Any:
                simulator.advance(6.0)
                return super().perform(call)

        store = Slow(clock=simulator.now)
        client(store=store, deadline=600.0).identify(**ANN)
        error = rejected(client(store=store, deadline=5.0).identify, external_id="ann-1", email="other@shop.dev")
        assert EmailMismatchError is type(error)

    @pytest.fixture
    def lagging(self) -> KlaviyoSimulator:
        """A Klaviyo whose search is an hour late."""
        return KlaviyoSimulator(account="SiMuLa", search_lag=3600.0)

    def test_a_change_that_is_done_is_no_failure(self, open_client: OpenClient, lagging: KlaviyoSimulator) -> None:
        """Waiting until the search shows a change is cut to what is left, and the change has been made."""
        k = open_client(lagging, MemoryStore(clock=lagging.now), deadline=2.0, policy=Policy(visible_wait=60))
        k.identify(**ANN)
        began = lagging.now()
        changed = k.change_email("new@shop.dev", external_id="ann-1")
        assert ("changed", False) == (changed.status, changed.visible)
        assert lagging.now() - began <= 2.2

    def test_each_person_has_it_anew(self, client: NewClient, store: MemoryStore, simulator: KlaviyoSimulator) -> None:
        """`recover` gives each customer the whole deadline: one who takes it all leaves the next one theirs."""
        intent = '{"verb": "contact", "external_id": "%s", "email": "%s"}'
        for name in ("ann", "bob"):
            pair = (Identifier(Kind.EXTERNAL_ID, f"{name}-1"), Identifier(Kind.EMAIL, f"{name}@shop.dev"))
            hold(store, *pair, intent=intent % (f"{name}-1", f"{name}@shop.dev"), ttl=1.0)
        simulator.advance(2.0)
        simulator.fail_next("get_profiles", status=503, headers={"Retry-After": "20"})
        first, second = client(deadline=5.0).recover()
        assert ("postponed", DeadlineExceededError) == (first.status, type(first.error))
        assert ("completed", None) == (second.status, second.error)

    @pytest.mark.parametrize("deadline", [0, -1, math.inf, math.nan, True, "30"])
    def test_what_is_no_deadline(self, client: NewClient, deadline: Any) -> None:
        """It is refused at once, on the client and on a view."""
        with pytest.raises(ConfigurationError, match="deadline"):
            client(deadline=deadline)
        with pytest.raises(ConfigurationError, match="deadline"):
            client().with_options(deadline=deadline)


class TestTheError:
    def test_it_is_no_retryable_error(self) -> None:
        """A write that may have left and cannot be repeated must not be caught by `except RetryableError`."""
        assert not issubclass(DeadlineExceededError, RetryableError)
        assert issubclass(DeadlineExceededError, TimeoutError)


def timed(call: Callable[[], object]) -> tuple[float, BaseException | None]:
    """Return how long a call took, and what it raised."""
    began = time.monotonic()
    try:
        call()
    except SafeKlaviyoError as error:
        return time.monotonic() - began, error
    return time.monotonic() - began, None


@pytest.mark.parametrize("kind", [Klaviyo, AsyncKlaviyo])
class TestInRealTime:
    def test_a_silent_klaviyo(self, kind: type) -> None:
        """A host that accepts and never answers holds no call longer than the deadline."""
        with listening(silent) as base, opened(kind, store="memory://", base_url=base, deadline=0.5) as k:
            seconds, error = timed(lambda: k.track("Ordered", **ANN))
        assert DeadlineExceededError is type(error)
        assert NoResponseError is type(error.__cause__)
        assert seconds < 0.55 + LATE

    def test_a_slow_klaviyo(self, kind: type) -> None:
        """Several requests that are each in time have one limit together."""

        def serve(connection: socket.socket) -> None:
            while next_request(connection):
                time.sleep(0.2)
                connection.sendall(answer(b'{"data": []}', Content_Type="application/vnd.api+json"))

        with listening(serve) as base, opened(kind, store="memory://", base_url=base, deadline=0.5) as k:
            seconds, error = timed(lambda: k.track("Ordered", **ANN))
        assert DeadlineExceededError is type(error)
        assert seconds < 0.55 + LATE

    @pytest.mark.server
    @pytest.mark.parametrize("scheme", ["postgresql", "redis"])
    def test_a_silent_map(self, kind: type, scheme: str) -> None:
        """A map that accepts and never answers holds no call longer than the deadline; nothing is sent (P6)."""
        asked: list[bytes] = []

        def never(connection: socket.socket) -> None:
            asked.append(next_request(connection))

        with listening(silent) as map_, listening(never) as base:
            url = f"{scheme}://{map_.removeprefix('http://')}/0"
            with opened(kind, store=url, base_url=base, deadline=0.5) as k:
                seconds, error = timed(lambda: k.track("Ordered", **ANN))
        assert (DeadlineExceededError, StoreUnavailableError) == (type(error), type(error.__cause__))
        assert ("not_applied", []) == (error.outcome, asked)
        assert seconds < 0.55 + LATE

    def test_a_locked_map(self, kind: type, tmp_path: Path) -> None:
        """Nor does an SQLite file that another process has locked."""
        import sqlite3

        path = tmp_path / "map.db"
        with SqliteStore(path) as made:
            made.count("SiMuLa")
        store = f"sqlite:///{path}"
        with listening(silent) as base, opened(kind, store=store, base_url=base, deadline=0.5) as k:
            blocker = sqlite3.connect(path, isolation_level=None)
            blocker.execute("BEGIN EXCLUSIVE")
            seconds, error = timed(lambda: k.bindings.add([ANN]))
            blocker.close()
        assert (DeadlineExceededError, StoreUnavailableError) == (type(error), type(error.__cause__))
        assert seconds < 0.55 + LATE

    @pytest.mark.slow
    @pytest.mark.timeout(600)
    def test_random_faults(self, kind: type, simulator: KlaviyoSimulator) -> None:
        """Of 500 calls over hosts that misbehave at random, none takes longer than its deadline and a tenth."""
        randomly = random.Random(11)
        late: list[float] = []
        with simulator.serve() as real, ExitStack() as stack:
            place = ("127.0.0.1", int(real.rpartition(":")[2]))
            base = stack.enter_context(listening(lambda connection: _misbehave(connection, place, randomly)))
            k = stack.enter_context(
                opened(kind, store="memory://", base_url=base, retry=RetryPolicy(max_attempts=9, give_up_after=600))
            )
            for number in range(500):
                deadline = randomly.choice([0.1, 0.2, 0.4])
                view = k.with_options(deadline=deadline)
                who = {"external_id": f"c-{number % 40}", "email": f"c{number % 40}@shop.dev"}
                seconds, _ = timed(lambda view=view, who=who: view.track("Ordered", **who))
                late.append(seconds - 1.1 * deadline)
        # What is over a tenth is this process waiting for a turn on the machine.
        assert sum(each > 0.02 for each in late) <= 5
        assert max(late) < LATE


def _misbehave(connection: socket.socket, place: tuple[str, int], randomly: random.Random) -> None:
    choice = randomly.choice([*DRIPS.values(), silent, reset, garble, None, None, None, None])
    if choice is not None:
        choice(connection)
        return
    with socket.create_connection(place) as behind:
        back = Thread(target=_pump, args=[behind, connection], daemon=True)
        back.start()
        _pump(connection, behind)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
