"""Tombstones of erased customers: keyed by what the map alone has, and found again whoever set them."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pytest

from safeklaviyo import ErasedError
from safeklaviyo.stores.calls import Remember
from safeklaviyo.stores.memory import MemoryStore
from support.scenes import ACCOUNT, ANN, BOB, rejected

KEYS = "tombstone keys"


@pytest.fixture
def settings():
    """Klaviyo deletes at once."""
    return {"queue_lag": 0.0}


def tombstone(key, name, value):
    """Return the name of a tombstone under a key."""
    return "erased:" + hmac.new(key.encode(), f"{name}:{value}".encode(), sha256).hexdigest()


def of_before(name, value):
    """Return the name that 0.1 gave a tombstone."""
    return tombstone(f"safeklaviyo:{ACCOUNT}", name, value)


def noted(store):
    """Return the names of the tombstones."""
    return {name for name, _ in store.notes(ACCOUNT).notes if name.startswith("erased:")}


def test_a_tombstone_alone_can_be_tested_against_no_guess(client, store):
    """P8: its key is random and stands in the map, so that the same customer has another tombstone in another map."""
    k = client()
    k.identify(**ANN)
    k.erase(**ANN)
    key = store.recall(ACCOUNT, KEYS)
    assert {tombstone(key, "email", ANN["email"]), tombstone(key, "external_id", "ann-1")} == noted(store)
    assert of_before("email", ANN["email"]) not in noted(store)
    assert len(key) >= 32
    k.identify(**BOB)
    k.erase(**BOB)
    assert key == store.recall(ACCOUNT, KEYS)


def test_tombstones_of_0_1_are_honoured_and_released(client, store):
    """They are under the account's id, and stay so, beside new ones."""
    store.remember(ACCOUNT, of_before("email", ANN["email"]), "1")
    k = client()
    assert isinstance(rejected(k.identify, **ANN), ErasedError)
    k.identify(**BOB)
    k.erase(**BOB)
    assert isinstance(rejected(k.identify, **ANN), ErasedError)
    assert k.bindings.release_email(ANN["email"])
    assert k.identify(**ANN).created
    assert isinstance(rejected(k.identify, **BOB), ErasedError)


class Raced(MemoryStore):
    """A map in which another erasure makes the key in the moment before this one does."""

    def perform(self, call):
        if isinstance(call, Remember) and call.name == KEYS and call.value != "the other's":
            super().perform(Remember(ACCOUNT, KEYS, "the other's"))
        return super().perform(call)


def test_two_first_erasures_agree_on_a_key(client, simulator):
    """The key that is there first stays, because the other erasure has perhaps used it already."""
    store = Raced(clock=simulator.now)
    k = client(store=store)
    k.identify(**ANN)
    k.erase(**ANN)
    assert "the other's" == store.recall(ACCOUNT, KEYS)
    assert isinstance(rejected(k.identify, **ANN), ErasedError)


def test_who_was_erased_twice_comes_back_at_once(client, store):
    """Each tombstone of the address is removed, under whichever key."""
    store.remember(ACCOUNT, of_before("email", ANN["email"]), "1")
    k = client()
    k.identify(**BOB)
    k.erase(**BOB)
    store.remember(ACCOUNT, tombstone(store.recall(ACCOUNT, KEYS), "email", ANN["email"]), "1")
    assert k.bindings.release_email(ANN["email"])
    assert k.identify(**ANN).created
