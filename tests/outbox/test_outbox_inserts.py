"""What a row gets when it is queued: the profile where nothing is left for the rules to judge, and its names."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from safeklaviyo import Policy
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.memory import MemoryStore

ACCOUNT = "SiMuLa"
ADA = {"external_id": "c-1", "email": "ada@shop.test"}
BOB = {"external_id": "c-2", "email": "bob@shop.test"}


@pytest.fixture
def path(tmp_path):
    """The path of the outbox's own file."""
    return tmp_path / "shop.db"


@pytest.fixture
def store():
    """A map of two customers."""
    return MemoryStore()


@pytest.fixture
def k(simulator, store, path):
    """A client whose map knows both customers."""
    with simulator.client(store=store, outbox=f"sqlite:///{path}", account=ACCOUNT) as k:
        k.bindings.add([{**ADA, "profile_id": "01JADA"}, {**BOB, "profile_id": "01JBOB"}])
        yield k


def profiles(path):
    """Return the profiles of all rows, in order."""
    with closing(sqlite3.connect(path)) as db:
        return [profile for (profile,) in db.execute("SELECT profile FROM safeklaviyo_outbox ORDER BY id")]


@pytest.mark.parametrize("named", [ADA, {"external_id": "c-1"}, {"email": "ada@shop.test"}])
def test_h13_a_known_customers_profile_is_fixed(k, path, named):
    """However the customer is named."""
    k.outbox.track("Ordered", **named)
    assert ["01JADA"] == profiles(path)


def test_h13_two_customers_fix_nothing(k, path):
    """R6: the id of one customer and the address of another one are for the rules, when the row is carried out."""
    k.outbox.track("Ordered", external_id="c-1", email="bob@shop.test")
    assert [None] == profiles(path)


def test_h13_a_former_address_is_for_the_rules(k, path, store, simulator):
    """R5: the pair of an id and a former address means the customer, unless the policy refuses such a pair."""
    carl = {"external_id": "c-4", "email": "carl@shop.test"}
    k.identify(**carl)
    k.change_email("carlo@shop.test", external_id="c-4")
    refusing = Policy(retired="refuse")
    with simulator.client(store=store, outbox=f"sqlite:///{path}", account=ACCOUNT, policy=refusing) as strict:
        for each in (k, strict):
            each.outbox.track("Ordered", **carl)
    assert [k.resolve(external_id="c-4").profile_id, None] == profiles(path)


def test_r13_a_customer_under_a_lease_is_not_fixed(k, store, path):
    """Another call is about to change what the map says."""
    store.acquire(ACCOUNT, [Identifier(Kind.EMAIL, "ada@shop.test")], ttl=60.0, intent="")
    k.outbox.track("Ordered", **ADA)
    assert [None] == profiles(path)
