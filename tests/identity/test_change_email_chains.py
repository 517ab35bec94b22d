"""Several changes of email: chains, ways back, swaps, repetitions, guests, and changes that meet each other."""

from __future__ import annotations

from itertools import permutations

import pytest

from safeklaviyo import EmailMismatchError, EmailTakenError, Policy
from support.scenes import (
    ACCOUNT,
    ANN,
    BOB,
    NEW,
    bound,
    codes,
    edit,
    expire,
    journal_of,
    leases,
    meanwhile,
    pairs,
    rejected,
    writes,
)

pytestmark = pytest.mark.proof

OLD = ANN["email"]
THIRD = "ann@third.test"
WHO = [{"external_id": "ann-1"}, {"old_email": OLD}, {"external_id": "ann-1", "old_email": OLD}]


@pytest.fixture
def known(client, simulator):
    """A client that knows Ann and Bob; the journal is empty."""
    k = client()
    for who in (ANN, BOB):
        k.identify(**who)
    simulator.journal.clear()
    return k


@pytest.fixture
def ann(known, simulator):
    """Ann's profile."""
    return simulator.find(external_id="ann-1").id


@pytest.mark.parametrize("who", WHO, ids=["id", "first address", "both"])
def test_a_chain(known, simulator, store, ann, who):
    """A → b → c, by whichever name: one profile, each former address speaks for it, the journal has each change."""
    for number, email in enumerate((NEW, THIRD, "ann@fourth.test"), 1):
        change = known.change_email(email, **who)
        assert ("changed", ann, number) == (change.status, change.profile_id, len(journal_of(store)))
    for email in (OLD, NEW, THIRD, "ann@fourth.test"):
        assert ann == known.track("Ordered", email=email).profile_id
    simulator.drain()
    assert {("ann-1", "ann@fourth.test"), ("bob-2", BOB["email"])} == pairs(simulator)
    assert [(OLD, NEW), (NEW, THIRD), (THIRD, "ann@fourth.test")] == [tuple(names) for _, *names in journal_of(store)]


def test_there_and_back(known, simulator, ann):
    """A → b → a: the first address is current again, the second a former one, and nothing was left on the way."""
    for email in (NEW, OLD, NEW, OLD):
        assert ann == known.change_email(email, external_id="ann-1").profile_id
    assert ("R3", "R11") == (known.explain(**ANN).rule, known.explain(email=NEW).rule)
    assert {("ann-1", OLD), ("bob-2", BOB["email"])} == pairs(simulator)


@pytest.mark.parametrize("who", WHO, ids=["id", "first address", "both"])
def test_a_repetition_is_unchanged(known, simulator, store, who):
    """The same change made again, as a task queue does, is no change."""
    statuses = [known.change_email(NEW, **who).status for _ in range(3)]
    assert ["changed", "unchanged", "unchanged"] == statuses
    assert (1, 1) == (len(writes(simulator)), len(journal_of(store)))


def test_an_old_change_that_is_repeated_late_is_made(known, simulator):
    """A → b, b → c, and then the first call again: it says what it wants, and gets it."""
    known.change_email(NEW, external_id="ann-1")
    known.change_email(THIRD, external_id="ann-1")
    assert "changed" == known.change_email(NEW, external_id="ann-1", old_email=OLD).status
    assert {("ann-1", NEW), ("bob-2", BOB["email"])} == pairs(simulator)


def test_a_direct_swap_is_refused(known, simulator, store):
    """P3: neither of two customers gets the other's address while it is theirs."""
    for email, who in ((BOB["email"], "ann-1"), (OLD, "bob-2")):
        for on_taken in ("refuse", "merge"):
            error = rejected(known.change_email, email, external_id=who, on_taken=on_taken)
            assert (EmailTakenError, "not_applied") == (type(error), error.outcome)
    assert ({("ann-1", OLD), ("bob-2", BOB["email"])}, [], 0) == (pairs(simulator), writes(simulator), leases(store))


def test_a_swap_through_a_third_address(known, simulator, store, ann):
    """Two customers swap through a third address: late calls go to whoever has the address now."""
    bob = simulator.find(external_id="bob-2").id
    known.change_email(THIRD, external_id="ann-1")
    known.change_email(OLD, external_id="bob-2")
    known.change_email(BOB["email"], external_id="ann-1")
    assert {("ann-1", BOB["email"]), ("bob-2", OLD)} == pairs(simulator)
    assert [ann, bob, ann] == [known.track("Ordered", email=email).profile_id for email in (BOB["email"], OLD, THIRD)]
    simulator.drain()
    assert ({("ann-1", BOB["email"]), ("bob-2", OLD)}, 0) == (pairs(simulator), leases(store))


def test_a_former_address_that_became_anothers_does_not_come_back(known, simulator):
    """P3: a → b, somebody else gets a: going back is refused, and the former owner's late calls are the new owner's."""
    known.change_email(NEW, external_id="ann-1")
    known.change_email(OLD, external_id="bob-2")
    assert isinstance(rejected(known.change_email, OLD, external_id="ann-1"), EmailTakenError)
    error = rejected(known.change_email, THIRD, external_id="ann-1", old_email=OLD)
    assert (EmailMismatchError, NEW) == (type(error), error.current_email)
    assert {("ann-1", NEW), ("bob-2", OLD)} == pairs(simulator)


@pytest.mark.parametrize("order", list(permutations((OLD, NEW, THIRD), 2)), ids=str)
def test_a_guest_goes_anywhere(client, simulator, order):
    """A customer without an id is moved by their address alone, there and on."""
    k = client()
    first, second = order
    guest = k.identify(email=first).profile_id
    k.change_email(second, old_email=first)
    assert (guest, {(None, second)}) == (k.change_email(second, old_email=first).profile_id, pairs(simulator))
    assert guest == k.identify(external_id="ann-1", email=second).profile_id
    assert {("ann-1", second)} == pairs(simulator)


@pytest.mark.parametrize("where", ["get_profiles", "get_profile", "update_profile"])
@pytest.mark.parametrize("other", [NEW, THIRD], ids=["the same", "another"])
def test_two_changes_at_once(*, client, simulator, store, open_client, known, ann, where, other):
    """R13, P4: of two changes of one customer each is made whole; the one that is made last, the later one, stands."""
    second = open_client(simulator, store, policy=Policy(wait=60))
    meanwhile(simulator, where, lambda: second.change_email(other, external_id="ann-1"))
    change = client(policy=Policy(wait=60)).change_email(NEW, external_id="ann-1")
    assert (ann, other, other) == (change.profile_id, change.new_email, bound(known, external_id="ann-1").email)
    assert (other != NEW) == ("superseded" in codes(change))
    assert ({("ann-1", other), ("bob-2", BOB["email"])}, 0) == (pairs(simulator), leases(store))


@pytest.mark.parametrize("where", ["get_profiles", "get_profile", "update_profile"])
@pytest.mark.parametrize("email", [OLD, NEW])
@pytest.mark.parametrize("verb", ["identify", "track"])
def test_a_call_about_the_same_customer_meanwhile(
    *, simulator, store, open_client, client, known, ann, where, email, verb
):
    """P4: a call with the old or the new address that comes between lands on the customer's one profile."""
    other = open_client(simulator, store, policy=Policy(wait=60))
    landed: list[str] = []

    def call() -> None:
        result = other.identify(email=email) if verb == "identify" else other.track("Ordered", email=email)
        landed.append(result.profile_id)

    meanwhile(simulator, where, call)
    change = client(policy=Policy(wait=60)).change_email(NEW, external_id="ann-1", on_taken="merge")
    assert ([ann], ann) == (landed, change.profile_id)
    simulator.drain()
    assert ({("ann-1", NEW), ("bob-2", BOB["email"])}, 0) == (pairs(simulator), leases(store))


@pytest.mark.parametrize("where", ["get_profiles", "get_profile", "update_profile"])
def test_two_customers_want_one_address_at_once(*, client, simulator, store, open_client, known, where):
    """P3, P4: one of them gets it, the other one is refused, and nobody is written onto the other's profile."""
    other = open_client(simulator, store, policy=Policy(wait=60))
    ends: list[object] = []

    def want() -> None:
        try:
            ends.append(other.change_email(NEW, external_id="bob-2").status)
        except EmailTakenError as error:
            ends.append(type(error))

    meanwhile(simulator, where, want)
    try:
        ends.append(client(policy=Policy(wait=60)).change_email(NEW, external_id="ann-1").status)
    except EmailTakenError as error:
        ends.append(type(error))
    assert (2, {"changed", EmailTakenError}) == (len(ends), set(ends))
    assert 0 == leases(store)
    shown = {profile.id: (profile.external_id, profile.email) for profile in simulator.profiles}
    assert shown == {each.profile_id: (each.external_id, each.email) for each in store.page(ACCOUNT).bindings}


def test_a_late_copy_of_a_finished_change_is_repaired(known, simulator, store, ann):
    """H8: a PATCH that lands after a newer change is a put-back, and is repaired by the recheck."""
    known.change_email(NEW, external_id="ann-1")
    known.change_email(THIRD, external_id="ann-1")
    edit(simulator, ann, email=NEW)
    assert [("put_back", True)] == [(each.finding, each.repaired) for each in known.recheck_changes(repair=True)]
    expire(simulator)
    assert ({("ann-1", THIRD), ("bob-2", BOB["email"])}, 0) == (pairs(simulator), leases(store))
