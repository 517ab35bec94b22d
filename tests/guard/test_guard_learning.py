"""What the map learns while a shop's calls are observed: hints, which decide nothing before they were checked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.guarding import Shop
from support.scenes import ANN, BOB, NEW, edit

if TYPE_CHECKING:
    from safeklaviyo import Klaviyo
    from safeklaviyo.testing import KlaviyoSimulator


def known(k: Klaviyo) -> set[tuple[Any, Any, Any]]:
    """Return what the map holds."""
    return {(each.external_id, each.email, each.verified_at) for each in k.bindings}


def settled(shop: Shop) -> dict[str, int]:
    """Return what was counted, once everything is learnt."""
    assert shop.transport.guard.flush()
    return shop.counters


def test_an_answer_teaches_a_hint(observed: Shop, k: Klaviyo) -> None:
    """What Klaviyo answers to an observed call is in the map, unchecked; nothing was sent for it."""
    observed.upsert(**ANN)
    assert 1 == settled(observed)["learnt"]
    assert {(*ANN.values(), None)} == known(k)


def test_learning_can_be_left_out(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """With learn=False the map stays as it is."""
    shop = Shop(simulator, k, learn=False)
    shop.upsert(**ANN)
    assert {"observed": 1} == settled(shop)
    assert set() == known(k)


def test_h32_a_hint_is_read_before_its_first_use(
    observed: Shop, shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator
) -> None:
    """H32: another program overwrites the id on the profile unseen; the customer's order does not go there."""
    observed.upsert(**ANN)
    settled(observed)
    (profile,) = simulator.profiles
    edit(simulator, profile.id, external_id=BOB["external_id"])
    shop.event(external_id=ANN["external_id"])
    simulator.drain()
    assert [] == simulator.events
    assert 202 == shop.event(external_id=BOB["external_id"]).status_code


def test_h33_an_older_answer_is_not_learnt_over_a_newer_one(
    simulator: KlaviyoSimulator, k: Klaviyo, observed: Shop
) -> None:
    """H33: two answers arrive crossed; the map has the newer word, and nothing is retired or written down."""
    observed.upsert(**ANN)
    (profile,) = simulator.profiles
    simulator.advance(1.0)
    older = observed.transport.guard.begin(_incoming(observed, profile.id))
    answer = observed.patch(profile.id, email=ANN["email"])
    simulator.advance(1.0)
    observed.patch(profile.id, email=NEW)
    _end(observed, older, answer)
    settled(observed)
    assert {(ANN["external_id"], NEW, None)} == known(k)


def test_h33_a_verbs_word_is_doubted_and_not_overwritten(observed: Shop, k: Klaviyo) -> None:
    """An answer that shows another address than a verb has bound is evidence: the next use reads the profile."""
    profile_id = str(k.identify(**ANN).profile_id)
    observed.patch(profile_id, email=NEW)
    assert 1 == settled(observed)["doubted"]
    assert {(*ANN.values(), None)} == known(k)


def test_r15_an_event_right_after_an_observed_change_puts_nothing_back(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """R15: changes of profiles are observed, events enforced; the event waits until the map knows of the change."""
    shop = Shop(simulator, k, mode={"create_event": "enforce"})
    profile_id = str(k.identify(**ANN).profile_id)
    for number in range(5):
        shop.patch(profile_id, email=f"ann-{number}@shop.test")
        shop.event(external_id=ANN["external_id"])
        simulator.drain()
        assert f"ann-{number}@shop.test" == simulator.profiles[0].email


def test_h34_a_wrong_hint_refuses_no_one(observed: Shop, shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
    """H34: its customer leaves the address unseen, another takes it: the hint in the way is read, and forgotten."""
    observed.upsert(**ANN)
    settled(observed)
    (profile,) = simulator.profiles
    edit(simulator, profile.id, email=NEW)
    answer = shop.upsert(external_id=BOB["external_id"], email=ANN["email"])
    assert 201 == answer.status_code
    assert 2 == len(simulator.profiles)


def test_a_map_that_is_away_learns_nothing(observed: Shop, k: Klaviyo) -> None:
    """And the call is answered as always."""
    k.close()
    assert 201 == observed.upsert(**ANN).status_code
    assert "learnt" not in settled(observed)


def _incoming(shop: Shop, profile_id: str) -> Any:
    from support.guarding import Incoming

    body = json.dumps({"data": {"type": "profile", "id": profile_id, "attributes": {"email": ANN["email"]}}}).encode()
    headers = [*shop.http.headers.items()]
    return Incoming("PATCH", f"https://a.klaviyo.com/api/profiles/{profile_id}", headers, body)


def _end(shop: Shop, plan: Any, answer: Any) -> None:
    from support.guarding import Reply

    shop.transport.guard.end(plan, Reply(answer.status_code, list(answer.headers.items()), answer.content))
