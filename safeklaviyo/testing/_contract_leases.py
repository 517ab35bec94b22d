"""The tests of leases: which call may write about an identifier, and which call finishes an intent."""

# ruff: noqa: SIM300 - what is expected stands first, as in every test of this project

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.base import BindOutcome, Change, Lease
from safeklaviyo.testing._contract_base import (
    LONG,
    SHOP,
    StoreClock,
    StoreFixtures,
    ann,
    bound,
    email,
    everything,
    external_id,
    leased,
    now,
    profile_id,
)

if TYPE_CHECKING:
    from safeklaviyo.stores.base import IdentityStore

ANN = (external_id("ann"), email("ann@shop.org"))


def lease_on(store: IdentityStore, *identifiers: Identifier) -> Lease | None:
    """Return the lease that a find reports."""
    return store.find(SHOP, identifiers).lease


def expired_lease(store: IdentityStore, clock: StoreClock, *identifiers: Identifier, intent: str = "old") -> Lease:
    """Take a lease and let it expire."""
    lease = leased(store, *identifiers, intent=intent, ttl=clock.moment)
    clock.advance(2 * clock.moment)
    return lease


class LeaseRules(StoreFixtures):
    """How leases are taken, kept, taken over and given back."""

    def test_a_lease_says_what_it_is(self, store: IdentityStore) -> None:
        """A new lease has the identifiers, the intent and the time asked for."""
        lease = leased(store, *ANN, intent="create", ttl=60.0)
        assert (frozenset(ANN), "create", False) == (lease.identifiers, lease.intent, lease.taken_over)
        assert lease.remaining == pytest.approx(60.0)

    def test_a_lease_is_found_by_what_it_covers(self, store: IdentityStore) -> None:
        """A find reports the lease on any identifier asked for, bound or not, and the time that remains of it."""
        lease = leased(store, *ANN, intent="create", ttl=LONG)
        for asked in (ANN, ANN[:1], (email("nobody@shop.org"), ANN[1])):
            seen = lease_on(store, *asked)
            assert seen is not None
            assert replace(lease, remaining=seen.remaining) == seen
            assert 0 < seen.remaining <= LONG

    def test_other_leases_are_not_reported(self, store: IdentityStore) -> None:
        """A find does not report a lease on another customer."""
        ann(store)
        leased(store, email("ben@shop.org"))
        assert lease_on(store, *ANN) is None

    @pytest.mark.parametrize("covered", [external_id("ann"), email("ann@shop.org"), profile_id("PANN")])
    @pytest.mark.parametrize("asked", [external_id("ann"), email("ann@shop.org"), profile_id("PANN")])
    def test_a_lease_on_a_binding_is_found_by_all_that_is_current_on_it(
        self, store: IdentityStore, covered: Identifier, asked: Identifier
    ) -> None:
        """A find by any current identifier of a binding reports a lease on any other one."""
        ann(store)
        lease = leased(store, covered)
        seen = lease_on(store, asked)
        assert seen is not None
        assert lease.token == seen.token

    @pytest.mark.parametrize("covered", [external_id("ann"), email("new@shop.org"), profile_id("PANN")])
    def test_a_lease_on_a_binding_is_found_by_a_former_identifier(
        self, store: IdentityStore, covered: Identifier
    ) -> None:
        """The same holds for a find by a retired identifier, alone or beside one that the map does not have."""
        bound(store, Change(replace(ann(store), email="new@shop.org")))
        lease = leased(store, covered)
        for asked in ((email("ann@shop.org"),), (external_id("unknown"), email("ann@shop.org"))):
            seen = lease_on(store, *asked)
            assert seen is not None
            assert lease.token == seen.token

    def test_of_several_leases_the_lowest_token_is_reported(self, store: IdentityStore) -> None:
        """A find that meets several leases reports the one that was taken first."""
        # Which one is reported is fixed: otherwise it would depend on the order in which a database returns rows.
        first, _ = leased(store, email("ann@shop.org")), leased(store, external_id("ann"))
        by_both = lease_on(store, *ANN)
        ann(store)
        by_profile = lease_on(store, profile_id("PANN"))
        assert by_both is not None
        assert by_profile is not None
        assert [first.token] * 2 == [by_both.token, by_profile.token]

    def test_a_lease_may_cover_what_no_binding_has(self, store: IdentityStore) -> None:
        """Any identifier can be leased, a phone number too."""
        phone = Identifier(Kind.PHONE_NUMBER, "+12025550123")
        lease = leased(store, phone)
        seen = lease_on(store, phone)
        assert seen is not None
        assert lease.token == seen.token

    def test_a_lease_is_taken_whole_or_not_at_all(self, store: IdentityStore) -> None:
        """Where one identifier is leased, none of the others is leased either."""
        leased(store, email("ann@shop.org"))
        assert store.acquire(SHOP, frozenset({*ANN, profile_id("PANN")}), intent="x", ttl=LONG) is None
        # A lease that was taken in part would keep later calls from these two, and no call would release it.
        leased(store, external_id("ann"), profile_id("PANN"))

    def test_leases_apart_do_not_meet(self, store: IdentityStore) -> None:
        """Leases without a common identifier do not affect each other."""
        first, second = leased(store, *ANN), leased(store, email("ben@shop.org"))
        assert first.token < second.token
        assert store.renew(SHOP, first.token, ttl=LONG)

    def test_tokens_only_rise(self, store: IdentityStore, clock: StoreClock) -> None:
        """No token is given twice, even when no lease is left."""
        # A token that came back would let a holder that was replaced long ago write again.
        tokens: list[int] = []
        for _ in range(3):
            lease = expired_lease(store, clock, *ANN)
            taken = leased(store, *ANN)
            store.release(SHOP, taken.token)
            tokens += [lease.token, taken.token]
        assert sorted(set(tokens)) == tokens

    def test_a_lease_expires_at_its_instant(self, store: IdentityStore, clock: StoreClock) -> None:
        """A lease holds until just before its time, and has expired when nothing remains."""
        if not clock.is_exact:
            pytest.skip("this store's clock cannot be stopped")
        leased(store, *ANN, ttl=8.0)
        # Binary fractions, which every clock adds up without rounding.
        clock.advance(7.75)
        assert store.acquire(SHOP, frozenset(ANN), intent="x", ttl=1.0) is None
        assert () == store.expired(SHOP, 10)
        clock.advance(0.25)
        seen = lease_on(store, *ANN)
        assert seen is not None
        assert 0.0 == seen.remaining
        assert 1 == len(store.expired(SHOP, 10))
        taken = store.acquire(SHOP, frozenset(ANN), intent="x", ttl=1.0)
        assert taken is not None
        assert taken.taken_over

    def test_an_expired_lease_stays_with_its_intent(self, store: IdentityStore, clock: StoreClock) -> None:
        """A find reports an expired lease as one of which nothing remains."""
        lease = expired_lease(store, clock, *ANN, intent="create")
        seen = lease_on(store, ANN[0])
        assert seen is not None
        assert (lease.token, "create", False) == (seen.token, seen.intent, seen.taken_over)
        assert seen.remaining <= 0

    def test_taking_over_keeps_what_was_to_be_done(self, store: IdentityStore, clock: StoreClock) -> None:
        """A call that meets an expired lease gets it with its own identifiers and intent, for the time asked for."""
        old = expired_lease(store, clock, *ANN, intent="create")
        taken = store.acquire(SHOP, frozenset({ANN[0], profile_id("PNEW")}), intent="another", ttl=60.0)
        assert taken is not None
        assert (old.identifiers, "create", True) == (taken.identifiers, taken.intent, taken.taken_over)
        assert old.token < taken.token
        assert taken.remaining == pytest.approx(60.0)
        # The intent is about the old identifiers. The new one is not in the lease, so another call may have it.
        leased(store, profile_id("PNEW"))
        assert store.acquire(SHOP, frozenset({ANN[1]}), intent="x", ttl=LONG) is None

    def test_a_replaced_holder_is_fenced(self, store: IdentityStore, clock: StoreClock) -> None:
        """With the token of a lease that was taken over, no operation changes anything."""
        binding = ann(store)
        old = expired_lease(store, clock, *ANN)
        taken = leased(store, *ANN)
        before = everything(store)
        # The old holder does not know that it was replaced: its process may have stood still in between.
        assert store.renew(SHOP, old.token, ttl=LONG, intent="mine") is False
        assert store.release(SHOP, old.token) is False
        assert BindOutcome("fenced") == store.bind(SHOP, Change(replace(binding, email="x@y.org"), token=old.token))
        assert before == everything(store)
        assert store.renew(SHOP, taken.token, ttl=LONG)

    def test_expiry_alone_fences_no_holder(self, store: IdentityStore, clock: StoreClock) -> None:
        """The holder of an expired lease that no call has taken over may bind, which releases the lease."""
        lease = expired_lease(store, clock, *ANN)
        # No other call has begun, so to refuse this one would lose a change and protect nothing.
        change = Change(replace(ann(store), email="new@shop.org"), token=lease.token)
        assert "bound" == store.bind(SHOP, change).status
        assert () == store.expired(SHOP, 10)

    def test_all_leases_are_told_of(self, store: IdentityStore, clock: StoreClock) -> None:
        """`leases` returns the leases, expired or not, the oldest first, and none that was released."""
        assert () == store.leases(SHOP, 9)
        living = leased(store, email("new@shop.org"), intent="living")
        expired = expired_lease(store, clock, *ANN, intent="expired")
        store.release(SHOP, leased(store, email("gone@shop.org")).token)
        listed = store.leases(SHOP, 9)
        assert [replace(each, remaining=0.0) for each in (living, expired)] == [
            replace(each, remaining=0.0) for each in listed
        ]
        assert [True, False] == [each.remaining > 0 for each in listed]
        assert (living.token,) == tuple(each.token for each in store.leases(SHOP, 1))
        assert () == store.leases("another", 9)

    def test_of_several_expired_leases_the_lowest_token_is_taken_over(
        self, store: IdentityStore, clock: StoreClock
    ) -> None:
        """Several expired leases are taken over one by one, the oldest first."""
        first = leased(store, ANN[1], intent="first", ttl=clock.moment)
        second = expired_lease(store, clock, ANN[0], intent="second")
        assert first.token < second.token
        assert ["first", "second"] == [leased(store, *ANN).intent for _ in range(2)]
        assert store.acquire(SHOP, frozenset(ANN), intent="x", ttl=LONG) is None

    def test_an_expired_lease_is_taken_over_beside_a_living_one(self, store: IdentityStore, clock: StoreClock) -> None:
        """A lease that has not expired does not keep a call from taking over one that has."""
        leased(store, ANN[0])
        expired_lease(store, clock, ANN[1], intent="left")
        taken = store.acquire(SHOP, frozenset(ANN), intent="x", ttl=LONG)
        assert taken is not None
        assert ("left", frozenset({ANN[1]}), True) == (taken.intent, taken.identifiers, taken.taken_over)

    def test_renewing_lets_a_lease_live(self, store: IdentityStore, clock: StoreClock) -> None:
        """A renewed lease lasts for the new time, with the same token, identifiers and intent."""
        lease = leased(store, *ANN, intent="create", ttl=clock.moment)
        assert store.renew(SHOP, lease.token, ttl=LONG) is True
        clock.advance(2 * clock.moment)
        assert () == store.expired(SHOP, 10)
        seen = lease_on(store, *ANN)
        assert seen is not None
        assert replace(lease, remaining=seen.remaining) == seen
        assert 0 < seen.remaining < LONG

    def test_renewing_may_change_the_intent(self, store: IdentityStore) -> None:
        """An intent given to `renew` replaces the one before, even an empty one."""
        lease = leased(store, *ANN, intent="first")
        for intent in ("second", ""):
            assert store.renew(SHOP, lease.token, ttl=LONG, intent=intent)
            seen = lease_on(store, *ANN)
            assert seen is not None
            assert intent == seen.intent

    def test_an_expired_lease_can_be_renewed(self, store: IdentityStore, clock: StoreClock) -> None:
        """The holder of an expired lease that no call has taken over may renew it."""
        lease = expired_lease(store, clock, *ANN)
        assert store.renew(SHOP, lease.token, ttl=LONG) is True
        assert store.acquire(SHOP, frozenset(ANN), intent="x", ttl=LONG) is None

    def test_releasing_ends_a_lease_for_good(self, store: IdentityStore) -> None:
        """After a release the identifiers are free, the intent is gone, and the token is not valid."""
        lease = leased(store, *ANN, intent="first")
        assert store.release(SHOP, lease.token) is True
        assert lease_on(store, *ANN) is None
        assert store.release(SHOP, lease.token) is False
        assert store.renew(SHOP, lease.token, ttl=LONG) is False
        again = leased(store, *ANN, intent="second")
        assert ("second", False) == (again.intent, again.taken_over)

    def test_a_token_that_never_was_is_not_valid(self, store: IdentityStore) -> None:
        """Renewing or releasing with a token that was never given returns False."""
        assert (False, False) == (store.renew(SHOP, 4_711, ttl=LONG), store.release(SHOP, 4_711))

    def test_binding_under_a_lease_releases_it(self, store: IdentityStore) -> None:
        """A change made with a token ends that lease in the same step, and no other."""
        binding = ann(store)
        lease, other = leased(store, *ANN), leased(store, email("ben@shop.org"))
        bound(store, Change(replace(binding, email="new@shop.org"), token=lease.token))
        assert lease_on(store, *ANN) is None
        assert store.renew(SHOP, lease.token, ttl=LONG) is False
        assert store.renew(SHOP, other.token, ttl=LONG) is True

    def test_binding_without_a_token_leaves_leases_alone(self, store: IdentityStore) -> None:
        """A change that only the version protects neither needs nor ends a lease."""
        binding = ann(store)
        lease = leased(store, *ANN)
        bound(store, Change(binding))
        assert store.renew(SHOP, lease.token, ttl=LONG) is True

    def test_a_refused_change_keeps_the_lease(self, store: IdentityStore) -> None:
        """A change that is stale leaves the lease under which it was tried."""
        binding = ann(store)
        lease = leased(store, *ANN)
        bound(store, Change(binding))
        assert "stale" == store.bind(SHOP, Change(binding, token=lease.token)).status
        assert store.renew(SHOP, lease.token, ttl=LONG) is True

    def test_forgetting_under_a_lease_keeps_it(self, store: IdentityStore, clock: StoreClock) -> None:
        """While its token is valid, expired or not, `remove` and `remember` do what they do without one."""
        ann(store)
        lease = expired_lease(store, clock, *ANN)
        assert store.remember(SHOP, "name", "value", token=lease.token)
        assert "value" == store.recall(SHOP, "name")
        assert store.remember(SHOP, "name", None, token=lease.token)
        assert store.recall(SHOP, "name") is None
        # True although there is no note: the answer says whether the token is valid.
        assert store.remember(SHOP, "name", None, token=lease.token)
        assert store.remove(SHOP, ANN[0], token=lease.token)
        assert () == store.page(SHOP).bindings
        assert store.remove(SHOP, ANN[0], token=lease.token) is False
        assert store.renew(SHOP, lease.token, ttl=LONG)

    @pytest.mark.parametrize("end", ["released", "taken over", "never", "another account's"])
    def test_forgetting_is_fenced(self, store: IdentityStore, clock: StoreClock, end: str) -> None:
        """With a token that is not valid, `remove` and `remember` return False and change nothing."""
        ann(store)
        store.remember(SHOP, "name", "value")
        lease = expired_lease(store, clock, *ANN)
        token = lease.token
        if end == "released":
            store.release(SHOP, token)
        elif end == "taken over":
            assert leased(store, *ANN).taken_over
        elif end == "never":
            token += 4_711
        else:
            elsewhere = store.acquire("elsewhere", frozenset(ANN), intent="x", ttl=LONG)
            assert elsewhere is not None
            token = elsewhere.token
        before = everything(store)
        assert store.remove(SHOP, ANN[0], token=token) is False
        assert store.remember(SHOP, "name", None, token=token) is False
        assert store.remember(SHOP, "name", "other", token=token) is False
        assert (before, "value") == (everything(store), store.recall(SHOP, "name"))

    def test_expired_leases_are_listed_oldest_first(self, store: IdentityStore, clock: StoreClock) -> None:
        """`expired` lists expired leases, lowest token first, no more than asked, and does not take them over."""
        living = leased(store, email("living@shop.org"))
        names = [email(f"dead{number}@shop.org") for number in range(3)]
        # Not in the order of the tokens, so that an answer in the order of expiry shows.
        ttls = (clock.moment / 2, clock.moment, clock.moment / 4)
        dead = [leased(store, name, intent=name.value, ttl=ttl) for name, ttl in zip(names, ttls, strict=True)]
        clock.advance(2 * clock.moment)
        listed = store.expired(SHOP, 2)
        assert [lease.token for lease in dead[:2]] == [lease.token for lease in listed]
        assert [names[0].value, names[1].value] == [lease.intent for lease in listed]
        assert [frozenset({names[0]}), frozenset({names[1]})] == [lease.identifiers for lease in listed]
        assert all(lease.remaining <= 0 and not lease.taken_over for lease in listed)
        assert 3 == len(store.expired(SHOP, 10))
        assert living.token not in {lease.token for lease in store.expired(SHOP, 10)}

    def test_a_lease_may_last_ten_minutes(self, store: IdentityStore) -> None:
        """A lease may be as long as the contract says, and keeps its time."""
        minutes = 600.0
        lease = leased(store, *ANN, ttl=minutes)
        assert lease.remaining == pytest.approx(minutes, abs=1.0)
        seen = lease_on(store, *ANN)
        assert seen is not None
        assert seen.remaining == pytest.approx(minutes, abs=1.0)
        assert () == store.expired(SHOP, 10)

    def test_times_come_from_the_stores_clock(self, store: IdentityStore, clock: StoreClock) -> None:
        """The time that a find returns passes with the store's clock."""
        before = now(store)
        clock.advance(clock.moment)
        assert before < now(store)
