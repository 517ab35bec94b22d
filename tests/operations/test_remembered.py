"""Processes that remember the map (`LayeredStore`): no change is hidden by what another process remembers (P2-P4)."""

from __future__ import annotations

import pytest

from safeklaviyo import ErasedError
from safeklaviyo.stores.base import Lease
from safeklaviyo.stores.layered import LayeredStore
from support.flows import Call, LeaseLostError, Monotonic, Recall, Renew, Sleep, outlast_caches
from support.scenes import ACCOUNT, ANN, NEW, bound, rejected, writes
from support.stores import LONGEST, NOTE

GUEST = "guest@shop.test"


@pytest.fixture
def remembering(client, store, simulator):
    """A client of another process, which remembers Ann and a guest as they were."""
    k = client(store=LayeredStore(store, clock=simulator.now))
    k.identify(**ANN)
    k.identify(email=GUEST)
    for _ in range(3):  # it says that it remembers, and reads that back, and remembers
        k.explain(**ANN)
        k.explain(email=GUEST)
    simulator.journal.clear()
    return k


def change_email(k):
    """Change Ann's email."""
    k.change_email(NEW, external_id="ann-1")


def change_external_id(k):
    """Change Ann's external id."""
    k.change_external_id("ann-9", old_external_id="ann-1")


def merge_guest(k):
    """Merge the guest's profile into Ann's."""
    guest, ann = bound(k, email=GUEST), bound(k, external_id="ann-1")
    k.profiles.merge(guest.profile_id, ann.profile_id)


@pytest.mark.parametrize(
    ("change", "asked", "shown"),
    [
        (change_email, {"email": ANN["email"]}, ("ann-1", NEW)),
        (change_email, {"external_id": "ann-1"}, ("ann-1", NEW)),
        (change_external_id, {"external_id": "ann-1"}, ("ann-9", ANN["email"])),
        (change_external_id, {"email": ANN["email"]}, ("ann-9", ANN["email"])),
        (merge_guest, {"email": GUEST}, ("ann-1", ANN["email"])),
    ],
)
def test_p2_nobody_names_a_customer_as_they_were(client, remembering, change, asked, shown):
    """P2: once a change has been made, a process that remembered the customer names them as they are."""
    change(client())
    identity = remembering.track("Ordered", **asked).identity
    assert shown == (identity.external_id, identity.email)


def test_p4_nobody_who_was_erased_is_made_known_again(client, simulator, remembering):
    """P4: an event that a process sends about somebody it remembers, after they were erased, makes no profile."""
    client().erase(external_id="ann-1")
    assert isinstance(rejected(remembering.track, "Ordered", **ANN), ErasedError)
    simulator.drain()
    assert [GUEST] == [profile.email for profile in simulator.profiles]


@pytest.mark.parametrize("change", [change_email, change_external_id, merge_guest])
def test_a_change_waits_for_those_who_remember(client, simulator, remembering, change):
    """Nothing is written before everybody has forgotten, whether or not the changing process remembers itself."""
    k = client()
    start = simulator.now()
    change(k)
    (write,) = writes(simulator)
    assert start + LONGEST <= write.at


def test_where_nobody_remembers_a_change_does_not_wait(client, simulator):
    """Without such a process everything is as fast as it was."""
    k = client()
    k.identify(**ANN)
    simulator.journal.clear()
    start = simulator.now()
    change_email(k)
    assert [start] == [write.at for write in writes(simulator)]


def test_a_change_that_renames_nobody_does_not_wait(client, simulator, remembering):
    """A phone number names nobody, and a change that changes nothing hides nothing."""
    k = client()
    start = simulator.now()
    k.change_phone_number("+12345678901", external_id="ann-1")
    k.change_email(ANN["email"], external_id="ann-1")
    assert start == simulator.now()


def test_the_lease_lasts_as_long_as_is_waited(client):
    """The lease is renewed for the whole wait, however short it is; who has lost it by then writes nothing."""
    call = Call(client()._shell._wiring.setup(), "change_email", ACCOUNT)
    lease = Lease(7, frozenset(), "{}", 1.0)
    for kept in (True, False):
        flow = outlast_caches(call, lease, 100.0)
        assert Recall(ACCOUNT, NOTE) == next(flow)
        assert Renew(ACCOUNT, 7, LONGEST + call.lease_ttl) == flow.send("99.0")
        if kept:
            assert [Monotonic, Monotonic] == [type(flow.send(told)) for told in (True, 50.0)]
            assert Sleep(LONGEST) == flow.send(50.0)
            assert Monotonic() == flow.send(None)  # woken early: it sleeps on
            assert Sleep(0.5) == flow.send(51.5)
        else:
            with pytest.raises(LeaseLostError):
                flow.send(False)
