"""An error that leaves a public method carries no variable of the call (P8), and costs the caller's program nothing."""

from __future__ import annotations

import asyncio
import inspect
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import safeklaviyo
from safeklaviyo import (
    AsyncKlaviyo,
    ConfigurationError,
    Klaviyo,
    NotSentError,
    RetryPolicy,
    StoreUnavailableError,
)
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.base import AsyncIdentityStore, IdentityStore, Lease
from safeklaviyo.stores.calls import Acquire, Expired
from safeklaviyo.stores.memory import AsyncMemoryStore, MemoryStore
from support.clients import opened
from support.leaks import all_behind, frames_of, texts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import NewClient

KEY = "pk_c0ffee0123456789secret"
EMAIL = "zebulon.quux@shop.dev"
PASSWORD = "hunter2"
ANN: dict[str, Any] = {"external_id": "cust-770077", "email": EMAIL}
ONCE = RetryPolicy(max_attempts=1)


def faces(client: Any) -> list[type]:
    """Return the classes of what hangs off a client."""
    names = [name for name, value in inspect.getmembers(type(client)) if isinstance(value, property)]
    return [type(getattr(client, name)) for name in names]


CLIENTS = (Klaviyo("pk_test", store="memory://"), AsyncKlaviyo("pk_test", store="memory://"))
CLASSES = [*(each for k in CLIENTS for each in (type(k), *faces(k))), IdentityStore, AsyncIdentityStore]


def public_methods(kind: type) -> list[tuple[str, Any]]:
    """Return the methods that take a caller's data."""
    return [
        (name, value)
        for base in kind.__mro__
        if base.__module__.startswith("safeklaviyo")
        for name, value in vars(base).items()
        if inspect.isfunction(value) and (name in {"__init__", "__iter__", "__aiter__"} or not name.startswith("_"))
    ]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_public_method_is_covered(kind: type) -> None:
    """A verb that is added to a class of the face is covered by its class."""
    bare = {name for name, value in public_methods(kind) if not hasattr(value, "__wrapped__")}
    assert set() == bare - {"perform"}


def test_every_face_is_looked_at() -> None:
    """What hangs off a client is in the list above."""
    assert {"Bindings", "Lists", "Profiles", "AsyncProfiles"} <= {kind.__name__ for kind in CLASSES}


def caught(kind: type[BaseException], work: Callable[[], object]) -> BaseException:
    """Return what some work raises."""
    with pytest.raises(kind) as raised:
        work()
    return raised.value


def assert_names_nobody(error: BaseException) -> None:
    """Fail if a frame that is not the program's shows what the call was about."""
    assert any(frame.f_globals["__name__"].startswith("safeklaviyo") for frame in frames_of(error))
    for text in texts_of(error):
        assert not any(each in text for each in (KEY, EMAIL, "770077", PASSWORD)), text


class Quoting(MemoryStore):
    """A map of which the driver quotes what it was asked, and hides that."""

    def perform(self, call: Any) -> Any:
        try:
            {}[EMAIL]
        except KeyError:
            raise StoreUnavailableError("the map is away") from None


class TestCalls:
    @pytest.mark.parametrize("kind", [Klaviyo, AsyncKlaviyo])
    def test_a_drivers_error_stays_the_cause_without_its_frames(self, kind: type) -> None:
        """Its class and message say what went wrong; its frames hold what was sent."""
        with opened(kind, store="memory://", base_url="http://127.0.0.1:9", retry=ONCE) as k:
            error = caught(NotSentError, lambda: k.profiles.search(email=EMAIL))
        assert_names_nobody(error)
        behind = [each for each in all_behind(error) if each is not error]
        assert behind
        assert {None} == {each.__traceback__ for each in behind}
        assert error.__cause__ is behind[0]
        assert isinstance(behind[0], ConnectionRefusedError)

    def test_a_drivers_error_that_is_hidden_is_let_go(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """What was hidden with ``from None`` is not there for those who look all the same."""
        k = client(api_key=KEY, retry=ONCE, store=Quoting())
        error = caught(StoreUnavailableError, lambda: k.explain(**ANN))
        assert_names_nobody(error)
        assert [error] == list(all_behind(error))

    def test_iterations_are_covered(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """So are the methods that yield."""
        k = client(api_key=KEY, retry=ONCE)
        simulator.fail_next(status=400, times=9)
        named = f'equals(email,"{EMAIL}")'
        assert_names_nobody(caught(safeklaviyo.BadRequestError, lambda: list(k.profiles.iterate(filter=named))))

    def test_what_was_read_before_is_yielded(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """An iteration that is left early is closed, and one that goes to its end yields all."""
        for number in range(5):
            simulator.add_profile(email=f"{number}@shop.dev")
        k = client()
        assert 5 == len(list(k.profiles.iterate(page_size=2)))
        assert "0@shop.dev" == next(iter(k.profiles.iterate(page_size=2))).email

    def test_the_callers_own_error_is_left_alone(self, client: NewClient) -> None:
        """What the caller was handling keeps its frames and their variables."""
        k = client()

        def fail() -> None:
            whose = "the caller's"
            raise LookupError(whose)

        def handle() -> None:
            try:
                fail()
            except LookupError:
                k.identify(external_id="nobody")

        error = caught(safeklaviyo.IdOnlyError, handle)
        own = error.__context__
        assert isinstance(own, LookupError)
        assert own.__traceback__ is not None
        assert own.__traceback__.tb_next is not None
        assert {"whose": "the caller's"} == own.__traceback__.tb_next.tb_frame.f_locals


class TestHooks:
    def test_a_hooks_error_keeps_its_own_frame(self, simulator: KlaviyoSimulator) -> None:
        """Where a hook of the caller's client fails, its variables stay, and those of the frames on the way go."""

        def hook(request: httpx.Request) -> None:
            number = 7
            raise ZeroDivisionError(number)

        with (
            httpx.Client(transport=simulator.transport, event_hooks={"request": [hook]}) as http,
            Klaviyo(KEY, store="memory://", http_client=http, account="SiMuLa") as k,
        ):
            error = caught(ZeroDivisionError, lambda: k.profiles.search(email=EMAIL))
        assert_names_nobody(error)
        step = error.__traceback__
        assert step is not None
        while step.tb_next is not None:
            step = step.tb_next
        assert 7 == step.tb_frame.f_locals["number"]


class TestConstructors:
    @pytest.mark.parametrize("kind", [Klaviyo, AsyncKlaviyo])
    def test_clients(self, kind: type) -> None:
        """A client that cannot be made shows neither the key nor a password."""
        url = f"postgresql://shop:{PASSWORD}@db/app?sslmode=nonsense&{PASSWORD}"
        for odd in ({"dialect": "none"}, {"base_url": "http://shop.dev"}, {"store": url}, {"deadline": -1}):
            error = caught(ConfigurationError, lambda odd=odd: kind(KEY, **odd))  # type: ignore[misc]
            assert_names_nobody(error)


class TestTwice:
    """One error object that is raised twice holds the frames of both calls."""

    def test_the_other_call_goes_on(self) -> None:
        """A call that has handled it and goes on is not ended by the one that lets it out."""
        shared = StoreUnavailableError("the map is away")
        lease = Lease(1, frozenset({Identifier(Kind.EMAIL, EMAIL)}), "", 0.0)
        left, is_waiting, may_go_on = [lease, lease], asyncio.Event(), asyncio.Event()

        class Store(AsyncMemoryStore):
            async def perform(self, call: Any) -> Any:
                if isinstance(call, Expired):
                    return tuple(left)
                # That a lease cannot be released is no reason to fail: `recover` goes on with the next one.
                if not isinstance(call, Acquire):
                    raise shared
                if len(left) == 1:
                    is_waiting.set()
                    await may_go_on.wait()
                return left.pop()

        async def use() -> None:
            async with AsyncKlaviyo(KEY, account="SiMuLa", store=Store()) as k:
                going_on = asyncio.create_task(k.recover())
                await is_waiting.wait()
                with pytest.raises(StoreUnavailableError):
                    await k.bindings.get(email=EMAIL)
                may_go_on.set()
                assert [] == await going_on

        asyncio.run(use())
        assert [] == left


class TestInterrupted:
    @pytest.mark.parametrize("module", ["email_validator", "namedtuple_Identifier", "namedtuple_Claim"])
    def test_what_is_called_shows_nobody(self, module: str) -> None:
        """A signal handler can raise anywhere, as in what checks an address, or in a named tuple's constructor."""

        class Soft(Exception):  # noqa: N818 - as task queues call theirs
            pass

        def ring(frame: Any, event: str, _: object) -> Any:
            is_there = event == "line" and frame.f_globals["__name__"].startswith(module)
            if is_there and "zebulon" in str(frame.f_locals):
                raise Soft
            return ring

        with Klaviyo(KEY, store="memory://", account="SiMuLa") as k:
            before = sys.gettrace()
            sys.settrace(ring)
            try:
                error = caught(Soft, lambda: k.explain(email="zebulon.quux@bücher.dev"))
            finally:
                sys.settrace(before)
        assert any(frame.f_globals["__name__"].startswith(module) for frame in frames_of(error))
        for text in texts_of(error):
            assert "zebulon" not in text
