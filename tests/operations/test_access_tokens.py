"""OAuth: an access token in place of a key, given as a text or by a function that is asked for it."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Lock
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo import (
    AsyncKlaviyo,
    AuthenticationError,
    ConfigurationError,
    DeadlineExceededError,
    Klaviyo,
    NoResponseError,
    NotSentError,
    RetryPolicy,
)
from safeklaviyo.identity import Kind
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import CLOUDFLARE_PAGE, KlaviyoSimulator
from support.clients import ACCOUNT, opened
from support.wire import SECONDS, Request, Response, current, senders

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.clients import NewClient

SAID = re.compile("access.token")
ONCE = RetryPolicy(max_attempts=1)
KINDS = pytest.mark.parametrize("kind", [Klaviyo, AsyncKlaviyo])


class Tokens:
    """Returns tokens in order, the last one from then on; counts how often it was asked.

    Attributes:
        asked: How often.
    """

    def __init__(self, *tokens: str) -> None:
        self._tokens = tokens
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        return self._tokens[min(self.asked, len(self._tokens)) - 1]

    async def fetch(self) -> str:
        """Return the same, awaited."""
        return self()


def accept(simulator: KlaviyoSimulator, *tokens: str) -> None:
    """Let the simulator accept these tokens alone."""
    simulator._keys = frozenset(tokens)


class TestArguments:
    @KINDS
    def test_a_key_and_a_token(self, kind: Any) -> None:
        """Only one of them can be meant, and neither is quoted."""
        with pytest.raises(ConfigurationError, match="not both") as caught:
            kind("pk_hunter2", access_token="hunter2", store="memory://")
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("token", ["", " ", 7, b"hunter2", "hunter2\r\nX-Evil: 1", "hunter 2", "hünter2"])
    def test_what_cannot_stand_in_a_header(self, client: NewClient, token: Any) -> None:
        """It is refused, given or returned, without being quoted; nothing is sent, and nothing stays locked."""
        with pytest.raises(ConfigurationError, match=SAID) as caught:
            Klaviyo(access_token=token, store="memory://")
        assert "unter" not in str(caught.value)
        k = client(api_key=None, access_token=lambda: token)
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=SAID) as caught:
                k.track("Ordered", email="ann@shop.dev")
            assert ("not_applied", False) == (caught.value.outcome, "unter" in str(caught.value))

    def test_an_awaitable_for_a_blocking_client(self) -> None:
        """It is refused, and Python does not warn of a coroutine that nothing awaited."""
        with (
            KlaviyoSimulator().mock(),
            Klaviyo(access_token=Tokens("a").fetch, account=ACCOUNT, store="memory://") as k,  # type: ignore[arg-type]
            pytest.raises(ConfigurationError, match="only AsyncKlaviyo awaits it"),
        ):
            k.track("Ordered", email="ann@shop.dev")

    def test_legacy(self) -> None:
        """The retired endpoints know no access tokens."""
        given: dict[str, Any] = {"dialect": "legacy", "public_key": ACCOUNT, "base_url": "http://127.0.0.1"}
        with pytest.raises(ConfigurationError, match="legacy dialect"):
            Klaviyo(access_token="a", store="memory://", **given)

    def test_the_environments_key_is_off(
        self, client: NewClient, simulator: KlaviyoSimulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A token that is given is used, whatever key the environment has."""
        monkeypatch.setenv("KLAVIYO_API_KEY", "pk_environment")
        accept(simulator, "a")
        for token in ("a", lambda: "a"):
            client(api_key=None, access_token=token).track("Ordered", email="ann@shop.dev")
        simulator.drain()
        assert 2 == len(simulator.events)


class TestAsking:
    def test_before_each_request(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A token that changes is used from the next request on."""
        accept(simulator, "a", "b")
        tokens = Tokens("a", "b")
        client(api_key=None, access_token=tokens).track("Ordered", external_id="1", email="ann@shop.dev")
        assert len(simulator.journal) == tokens.asked > 1

    def test_awaited(self, simulator: KlaviyoSimulator) -> None:
        """`AsyncKlaviyo` awaits what a coroutine function returns."""
        accept(simulator, "a")
        tokens = Tokens("a")
        with simulator.mock(), opened(AsyncKlaviyo, api_key=None, access_token=tokens.fetch, store="memory://") as k:
            k.track("Ordered", email="ann@shop.dev")
        assert len(simulator.journal) == tokens.asked

    def test_once_more_after_a_401(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """The request is sent once more with another token: the event is recorded, once."""
        client().identify(email="ann@shop.dev")
        accept(simulator, "new")
        simulator.journal.clear()
        tokens = Tokens("old", "new")
        client(api_key=None, access_token=tokens).track("Ordered", email="ann@shop.dev")
        assert [401, 202] == [entry.status for entry in simulator.journal]
        assert 2 == tokens.asked

    def test_the_same_token_again(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """It is not sent again, and the error says what is wrong."""
        accept(simulator, "new")
        tokens = Tokens("old")
        with pytest.raises(AuthenticationError, match="access token") as caught:
            client(api_key=None, access_token=tokens).track("Ordered", email="ann@shop.dev")
        assert ("not_applied", [401], 2) == (
            caught.value.outcome,
            [entry.status for entry in simulator.journal],
            tokens.asked,
        )

    def test_a_401_that_is_not_klaviyos(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A proxy's page says nothing about the token, and the event may have arrived: not sent again (F-34)."""
        client().identify(email="ann@shop.dev")
        simulator.journal.clear()
        simulator.fail_next("create_event", status=401, body=CLOUDFLARE_PAGE)
        tokens = Tokens("a")
        with pytest.raises(NoResponseError):
            client(api_key=None, access_token=tokens, retry=ONCE).track("Ordered", email="ann@shop.dev")
        assert (1, 1) == (tokens.asked, len(simulator.journal))

    def test_one_at_a_time(self, simulator: KlaviyoSimulator) -> None:
        """However many threads send, the function runs in one of them."""
        inside = Lock()

        def ask() -> str:
            assert inside.acquire(blocking=False)
            try:
                time.sleep(0.01)
                return "a"
            finally:
                inside.release()

        with (
            simulator.mock(),
            Klaviyo(access_token=ask, account=ACCOUNT, store="memory://") as k,
            ThreadPoolExecutor(8) as pool,
        ):
            list(pool.map(lambda number: k.track("Ordered", email=f"{number}@shop.dev"), range(16)))
        simulator.drain()
        assert 16 == len(simulator.events)

    def test_all_that_held_the_refused_token_wait_for_one_answer(self) -> None:
        """Eight threads are answered 401 at once: the function is asked once more, for all of them."""
        barrier, asked = Barrier(8), []

        class Inner:
            """Lets all eight send the old token before it answers one of them."""

            def send(self, _: Request, __: Any, authorization: Any) -> Response:
                if "old" not in authorization.reveal():
                    return Response(200, {}, b'{"data": []}')
                barrier.wait(5)
                return Response(401, {}, b'{"errors": [{"code": "not_authenticated"}]}')

        def ask() -> str:
            asked.append("old" if len(asked) < 8 else "new")
            return asked[-1]

        sender = senders.TokenSender(Inner(), ask)
        request = current.search_profiles(Kind.EMAIL, "ann@shop.dev")
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: sender.send(request, SECONDS), range(8)))
        assert [200] * 8 == [answer.status for answer in answers]
        assert ["old"] * 8 + ["new"] == asked

    def test_all_tasks_that_held_the_refused_token_wait_for_one_answer(self) -> None:
        """So do the tasks of a loop."""
        asked: list[str] = []

        async def ask() -> str:
            asked.append("old" if len(asked) < 8 else "new")
            return asked[-1]

        async def run() -> list[int]:
            sent = asyncio.Barrier(8)

            class Inner:
                """As above."""

                async def send(self, _: Request, __: Any, authorization: Any) -> Response:
                    if "old" not in authorization.reveal():
                        return Response(200, {}, b'{"data": []}')
                    await sent.wait()
                    return Response(401, {}, b'{"errors": [{"code": "not_authenticated"}]}')

            sender = senders.AsyncTokenSender(Inner(), ask)
            request = current.search_profiles(Kind.EMAIL, "ann@shop.dev")
            return [each.status for each in await asyncio.gather(*(sender.send(request, SECONDS) for _ in range(8)))]

        assert [200] * 8 == asyncio.run(run())
        assert ["old"] * 8 + ["new"] == asked


class TestFailing:
    @KINDS
    @pytest.mark.parametrize("error", [RuntimeError("no token"), TimeoutError("late"), SystemExit(3)])
    @pytest.mark.parametrize("after", [0, 2])
    def test_what_it_raises_reaches_the_caller(
        self, simulator: KlaviyoSimulator, kind: Any, error: BaseException, after: int
    ) -> None:
        """The very error comes out, and nothing stays locked, also where a write was about to leave (2.5)."""
        store, asked = MemoryStore(), []

        def ask() -> str:
            asked.append(1)
            if len(asked) == after + 1:
                raise error
            return "a"

        given = {"store": store} if kind is Klaviyo else {"store": "memory://"}
        with simulator.mock(), opened(kind, api_key=None, access_token=ask, **given) as k:
            with pytest.raises(type(error)) as caught:
                k.identify(external_id="1", email="ann@shop.dev")
            assert (error, None, None) == (caught.value, error.__cause__, error.__context__)
            assert after == len(simulator.journal)
            begun = time.monotonic()
            k.identify(external_id="1", email="ann@shop.dev")
            assert time.monotonic() - begun < 2  # a lease left behind would take 15
        assert 1 == len(simulator.profiles)

    @KINDS
    def test_a_read_without_a_lease(self, simulator: KlaviyoSimulator, kind: Any) -> None:
        """There, too, the very error comes out."""
        error = KeyError("shop")

        def ask() -> str:
            raise error

        with simulator.mock(), opened(kind, api_key=None, access_token=ask, store="memory://") as k:
            with pytest.raises(KeyError) as caught:
                k.profiles.search(email="ann@shop.dev")
            assert error is caught.value

    def test_a_signal_handler_raises_in_a_loop(self, simulator: KlaviyoSimulator) -> None:
        """A blocking function in a loop is cut off by the handler, and the next call asks again."""

        class Soft(Exception):  # noqa: N818 - named as task queues name theirs
            pass

        def raises(*_: object) -> None:
            raise Soft

        waits = [True]

        def ask() -> str:
            if waits and waits.pop():
                time.sleep(5)
            return "a"

        before = signal.signal(signal.SIGALRM, raises)
        try:
            with simulator.mock(), opened(AsyncKlaviyo, api_key=None, access_token=ask, store="memory://") as k:
                signal.setitimer(signal.ITIMER_REAL, 0.2)
                with pytest.raises(Soft):
                    k.profiles.search(email="ann@shop.dev")
                assert [] == k.profiles.search(email="ann@shop.dev")
        finally:
            signal.signal(signal.SIGALRM, before)

    def test_a_signal_handler_raises_in_it(self, simulator: KlaviyoSimulator) -> None:
        """A task queue's limit comes out as it is, and the next call asks again."""

        class Soft(Exception):  # noqa: N818 - named as task queues name theirs
            pass

        def raises(*_: object) -> None:
            raise Soft

        waits = [True]

        def ask() -> str:
            if waits.pop() if waits else False:
                time.sleep(5)
            return "a"

        before = signal.signal(signal.SIGALRM, raises)
        try:
            with simulator.mock(), Klaviyo(access_token=ask, account=ACCOUNT, store="memory://") as k:
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                with pytest.raises(Soft):
                    k.track("Ordered", email="ann@shop.dev")
                with ThreadPoolExecutor(1) as pool:  # an RLock would let the same thread in
                    pool.submit(k.track, "Ordered", email="ann@shop.dev").result(5)
        finally:
            signal.signal(signal.SIGALRM, before)
        assert 1 == len(simulator.profiles)

    def test_a_function_that_hangs_holds_no_other_thread(self, simulator: KlaviyoSimulator) -> None:
        """Those that wait for it end in time; the one in it ends with it, and sends nothing then."""
        inside, goes_on = Event(), Event()

        def ask() -> str:
            inside.set()
            assert goes_on.wait(10)
            return "a"

        given: dict[str, Any] = {"access_token": ask, "timeout": 0.3, "retry": ONCE, "deadline": None}
        with (
            simulator.mock(),
            Klaviyo(account=ACCOUNT, store="memory://", **given) as k,
            ThreadPoolExecutor(1) as pool,
        ):
            first = pool.submit(k.profiles.search, email="ann@shop.dev")
            assert inside.wait(5)
            begun = time.monotonic()
            with pytest.raises(NotSentError, match="access_token did not return"):
                k.profiles.search(email="bob@shop.dev")
            assert time.monotonic() - begun < 1
            goes_on.set()
            with pytest.raises(NotSentError, match="access_token did not return"):
                first.result(5)
            assert [] == simulator.journal
            assert [] == k.profiles.search(email="ann@shop.dev")

    def test_an_awaited_function_is_cut_off(self, simulator: KlaviyoSimulator) -> None:
        """At the deadline the call ends, and others that wait for the function end, too."""

        async def hang() -> str:
            await asyncio.sleep(60)
            return "a"

        with simulator.mock():
            given: dict[str, Any] = {"api_key": None, "access_token": hang, "store": "memory://", "deadline": 0.3}
            with opened(AsyncKlaviyo, **given) as k:
                begun = time.monotonic()
                with pytest.raises(DeadlineExceededError) as caught:
                    k.track("Ordered", email="ann@shop.dev")
                assert time.monotonic() - begun < 1
                assert ("not_applied", True) == (caught.value.outcome, caught.value.may_retry)
        assert [] == simulator.journal


class TestAccount:
    def test_asked_once_for_each_client(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Tokens change, so the map does not remember an account for each of them; Klaviyo is asked by each client."""
        accept(simulator, "a", "b")
        for token in ("a", Tokens("a", "b")):
            simulator.journal.clear()
            k = client(api_key=None, access_token=token, account=None)
            for _ in range(2):
                k.identify(external_id="1", email="ann@shop.dev")
            assert 1 == sum(entry.endpoint == "get_accounts" for entry in simulator.journal)
        assert 1 == len(simulator.profiles)

    def test_nothing_is_remembered(self, client: NewClient, store: MemoryStore) -> None:
        """No note about the token is left in the map."""
        client(api_key=None, access_token="a", account=None).explain(email="ann@shop.dev")
        assert "" not in store._accounts


def test_views_share_the_token(client: NewClient, simulator: KlaviyoSimulator) -> None:
    """A view of a client sends with the same token."""
    accept(simulator, "a")
    k = client(api_key=None, access_token=Tokens("a")).with_options(timeout=3)
    assert [] == k.profiles.search(email="ann@shop.dev")


def test_the_simulators_client_takes_a_token(simulator: KlaviyoSimulator) -> None:
    """It then has no key, because a client has one or the other."""
    accept(simulator, "a")
    give: Callable[[], str] = Tokens("a")
    with simulator.client(access_token=give) as k:
        assert [] == k.profiles.search(email="ann@shop.dev")
