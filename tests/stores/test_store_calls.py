"""The calls of a store and the methods that make them, which are the same things twice."""

import inspect
from dataclasses import MISSING, fields

import pytest

from safeklaviyo import Klaviyo
from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.stores import calls
from safeklaviyo.stores.base import AsyncIdentityStore, IdentityStore
from safeklaviyo.stores.calls import Call, Find
from safeklaviyo.stores.memory import MemoryStore

CALLS = [each for name in calls.__all__ if (each := getattr(calls, name)) is not Call]
NOT_CALLS = {"perform", "close", "aclose"}


def arguments(function):
    """Return a method's parameters with their defaults, but for `self`."""
    given = list(inspect.signature(function).parameters.values())[1:]
    return [(each.name, MISSING if each.default is each.empty else each.default) for each in given]


@pytest.mark.parametrize("contract", [IdentityStore, AsyncIdentityStore])
@pytest.mark.parametrize("call", CALLS, ids=[call.__name__ for call in CALLS])
def test_a_call_is_what_its_method_takes(contract, call):
    """A call has its method's arguments, in the same order and with the same defaults."""
    assert [(each.name, each.default) for each in fields(call)] == arguments(getattr(contract, call.method))


@pytest.mark.parametrize("contract", [IdentityStore, AsyncIdentityStore])
def test_every_method_makes_a_call(contract):
    """Nothing is asked of a store but by a call that it performs."""
    methods = {name for name in vars(contract) if not name.startswith("_")} - NOT_CALLS
    assert {call.method for call in CALLS} == methods
    assert len(CALLS) == len(methods)


class Forwarding(IdentityStore):
    """A store of somebody else's, which brings no more than it must."""

    def __init__(self):
        self.store, self.performed = MemoryStore(), []

    def perform(self, call):
        self.performed.append(call.method)
        return self.store.perform(call)

    def close(self):
        self.store.close()


class Blind(Forwarding):
    """One that finds in its own way."""

    def find(self, account, identifiers):
        raise StoreUnavailableError("nothing is found today")


def test_a_store_brings_one_method(simulator, account):
    """A client works over whatever performs calls."""
    store = Forwarding()
    with simulator.mock(), Klaviyo("pk_test", account=account, store=store) as k:
        k.identify(external_id="ann-1", email="ann@shop.test")
        assert "ann@shop.test" == k.bindings.get(external_id="ann-1").email
    assert {"find", "acquire", "bind"} <= set(store.performed)


def test_a_method_that_is_overridden_is_what_a_client_calls(simulator):
    """Operations ask by the methods, so that a store may do one of them otherwise."""
    with simulator.mock(), Klaviyo("pk_test", account="SiMuLa", store=Blind()) as k:
        with pytest.raises(StoreUnavailableError, match="today"):
            k.identify(external_id="ann-1", email="ann@shop.test")
        assert [] == simulator.journal


def test_a_call_shows_what_it_asks():
    """A call is a value: equal to one that asks the same."""
    assert Find("shop", ()) == Find("shop", ())
    assert Find("shop", ()) != Find("other", ())
