"""`on_decision`: told of each decision of a call, after it, and able to disturb nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from safeklaviyo import (
    AsyncKlaviyo,
    ConfigurationError,
    Decision,
    IdOnlyError,
    Klaviyo,
    LeaseHeldError,
    Policy,
)
from safeklaviyo.identity import Identifier, Kind
from support.scenes import ACCOUNT, ANN, leases

if TYPE_CHECKING:
    from safeklaviyo.stores.memory import MemoryStore
    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import NewClient, OpenClient

NEW = "new@shop.test"


def said(decisions: list[Decision]) -> list[tuple[str, str]]:
    """Return what was decided, and by which rule."""
    return [(each.action, each.rule) for each in decisions]


class TestTold:
    def test_of_first_contact_and_of_what_is_known(self, client: NewClient) -> None:
        """One decision a call where the map knows the customer, and one for first contact."""
        told: list[Decision] = []
        k = client(on_decision=told.append)
        k.identify(**ANN)
        k.track("Ordered", **ANN)
        k.track("Ordered", email=ANN["email"])
        assert [("contact", "R4"), ("send", "R3"), ("send", "R10")] == said(told)
        assert told[-1].identity.external_id == ANN["external_id"]

    def test_of_a_refusal(self, client: NewClient) -> None:
        """A call that ends in an error has decided too, and what Klaviyo said made a decision of its own."""
        told: list[Decision] = []
        k = client(on_decision=told.append)
        with pytest.raises(IdOnlyError):
            k.track("Ordered", external_id="nobody")
        assert [("lookup", "R9"), ("refuse", "R9")] == said(told)

    def test_of_what_only_reads(self, client: NewClient) -> None:
        """`explain` and `resolve` decide as the other verbs do."""
        told: list[Decision] = []
        k = client(on_decision=told.append)
        assert [k.explain(**ANN)] == told
        k.resolve(**ANN)
        assert [("contact", "R4")] * 2 == said(told)

    def test_of_a_wait_once(self, client: NewClient, store: MemoryStore) -> None:
        """A call that waits for another one comes to the same decision again and again, and tells of it once."""
        told: list[Decision] = []
        k = client(on_decision=told.append, policy=Policy(wait=3))
        store.acquire(ACCOUNT, frozenset({Identifier(Kind.EMAIL, ANN["email"])}), intent="x", ttl=60)
        with pytest.raises(LeaseHeldError):
            k.identify(**ANN)
        assert [("wait", "R13")] == said(told)

    def test_of_views(self, client: NewClient) -> None:
        """What `with_options` returns tells as the client does."""
        told: list[Decision] = []
        k = client(on_decision=told.append)
        k.with_options(timeout=3).identify(**ANN)
        assert [("contact", "R4")] == said(told)

    def test_to_nobody(self, client: NewClient) -> None:
        """Without it a call does what it always does."""
        assert client(on_decision=None).identify(**ANN).created


class TestCalledBack:
    def test_outside_of_leases(self, client: NewClient, store: MemoryStore) -> None:
        """When it is called the call holds no lease, and the customer is bound."""
        seen: list[tuple[int, int]] = []
        k = client(on_decision=lambda _: seen.append((leases(store), store.count(ACCOUNT))))
        k.identify(**ANN)
        assert [(0, 1)] == seen

    def test_it_may_call_the_client(
        self, open_client: OpenClient, simulator: KlaviyoSimulator, store: MemoryStore
    ) -> None:
        """No lock and no lease is in its way."""
        told: list[Decision] = []

        def call_again(decision: Decision) -> None:
            told.append(decision)
            if len(told) == 1:
                k.identify({"tier": "gold"}, **ANN)

        k = open_client(simulator, store, on_decision=call_again)
        assert k.identify(**ANN).created
        assert [("contact", "R4"), ("send", "R3")] == said(told)

    @pytest.mark.parametrize("outcome", ["done", "refused"])
    def test_what_it_raises_is_dropped(self, client: NewClient, caplog: pytest.LogCaptureFixture, outcome: str) -> None:
        """The call ends as it would have; the log has the class and nothing of the message."""

        def fail(decision: Decision) -> None:
            raise LookupError(decision.identity.email)

        k = client(on_decision=fail)
        if outcome == "done":
            assert k.identify(**ANN).created
        else:
            with pytest.raises(IdOnlyError):
                k.identify(external_id="nobody")
        dropped = [each for each in caplog.records if "on_decision" in each.getMessage()]
        assert {"on_decision raised LookupError, which was dropped"} == {each.getMessage() for each in dropped}
        assert {(logging.WARNING, None)} == {(each.levelno, each.exc_info) for each in dropped}

    def test_its_decisions_show_nobody(self, client: NewClient) -> None:
        """P8: a decision that is logged names no one."""
        told: list[Decision] = []
        client(on_decision=told.append).identify(**ANN)
        assert not any(each in repr(told) for each in ANN.values())


@pytest.mark.parametrize("kind", [Klaviyo, AsyncKlaviyo])
def test_it_has_to_be_a_function(kind: type) -> None:
    """One that is awaited would never run."""

    async def awaited(decision: Decision) -> None: ...

    for odd in (awaited, "print", 1):
        with pytest.raises(ConfigurationError, match="on_decision has to be a function"):
            kind("pk", store="memory://", on_decision=odd)
