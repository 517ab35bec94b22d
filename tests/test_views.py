"""`with_options`: a view of a client with other options, which shares everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo import ConfigurationError, EmailMismatchError, Policy, RetryPolicy, ServerError

if TYPE_CHECKING:
    from safeklaviyo.stores.memory import MemoryStore
    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import NewClient

ANN: dict[str, Any] = {"external_id": "ann-1", "email": "ann@shop.dev"}


def test_it_shares_the_map_and_the_account(client: NewClient, simulator: KlaviyoSimulator, store: MemoryStore) -> None:
    """What one knows the other knows, and Klaviyo is asked for the account once, through whichever came first."""
    k = client(account=None)
    view = k.with_options(deadline=2.0)
    assert view.identify({"a": 1}, **ANN).created
    assert not k.identify({"b": 2}, **ANN).created
    assert not k.with_options(timeout=3.0).with_options(deadline=1.0).identify({"c": 3}, **ANN).created
    assert 1 == sum(entry.endpoint == "get_accounts" for entry in simulator.journal)
    assert 1 == store.count("SiMuLa")


def test_it_shares_pacing_and_budget(client: NewClient) -> None:
    """Two views together are no faster than one client, and no more insistent."""
    k = client()
    root = k._shell._wiring.setup()
    view = k.with_options(retry=RetryPolicy(max_attempts=9), timeout=1.0)._shell._wiring.view_of(root)
    assert (root.line.pacer, root.line.budget) == (view.line.pacer, view.line.budget)
    assert 9 == view.line.policy.max_attempts
    assert root.shared is view.shared


def test_its_options_are_its_own(client: NewClient, simulator: KlaviyoSimulator) -> None:
    """A policy and a retry policy hold for the view, and not for the client."""
    k = client()
    k.identify(**ANN)
    changing = k.with_options(policy=Policy(email_mismatch="change"))
    with pytest.raises(EmailMismatchError):
        k.identify(external_id="ann-1", email="new@shop.dev")
    changing.identify(external_id="ann-1", email="new@shop.dev")
    simulator.fail_next("create_event", status=500, times=2)
    with pytest.raises(ServerError):
        k.with_options(retry=RetryPolicy(max_attempts=1)).track("Ordered", external_id="ann-1")
    k.track("Ordered", external_id="ann-1")


def test_closing_it_closes_nothing(client: NewClient) -> None:
    """A view may be a context manager, and its client goes on; it ends with its client."""
    k = client()
    view = k.with_options(deadline=2.0)
    view.identify(**ANN)
    view.close()
    assert not k.identify({"a": 1}, **ANN).created
    assert not view.identify({"a": 1}, **ANN).created
    k.close()
    with pytest.raises(ConfigurationError, match="closed"):
        view.identify({"a": 1}, **ANN)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"policy": None}, {"retry": 3}, {"deadline": "soon"}])
def test_what_makes_no_sense_is_refused(client: NewClient, options: dict[str, Any]) -> None:
    """As by the client itself."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        client().with_options(**options)
