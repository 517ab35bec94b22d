"""The tests of bindings and retired identifiers: what `IdentityStore.bind` and `find` promise."""

# ruff: noqa: SIM300 - what is expected stands first, as in every test of this project

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import BindOutcome, Change, Found, JournalEntry, Match
from safeklaviyo.testing._contract_base import (
    SHOP,
    StoreClock,
    StoreFixtures,
    ann,
    ben,
    bound,
    email,
    everything,
    external_id,
    former_owner,
    leased,
    match_of,
    now,
    owner,
    profile_id,
)

if TYPE_CHECKING:
    from safeklaviyo.stores.base import IdentityStore


class BindingRules(StoreFixtures):
    """What is current, what is retired, and which changes are refused."""

    def test_an_empty_map_knows_no_customer(self, store: IdentityStore) -> None:
        """A find in an empty map has no match, no lease, and the time."""
        found = store.find(SHOP, (external_id("ann"), email("ann@shop.org")))
        assert Found((), None, found.now) == found

    def test_a_find_of_nothing_finds_nothing(self, store: IdentityStore) -> None:
        """A find without identifiers has no match, even if there are bindings."""
        ann(store)
        assert () == store.find(SHOP, ()).matches

    @pytest.mark.parametrize("asked", [external_id("ann"), email("ann@shop.org"), profile_id("PANN")])
    def test_a_binding_is_found_by_each_identifier(self, store: IdentityStore, asked: Identifier) -> None:
        """The external id, the email and the profile id each lead to the binding."""
        binding = ann(store)
        assert Match(asked, binding) == match_of(store, asked)

    def test_a_pair_is_found_with_a_match_for_each(self, store: IdentityStore) -> None:
        """Each identifier asked for has its own match, in the order asked."""
        binding, asked = ann(store), (external_id("ann"), email("ann@shop.org"))
        assert (Match(asked[0], binding), Match(asked[1], binding)) == store.find(SHOP, asked).matches

    def test_identifiers_of_two_customers_find_both(self, store: IdentityStore) -> None:
        """A find across two bindings returns each for its own identifier."""
        one, other, asked = ann(store), ben(store), (external_id("ann"), email("ben@shop.org"))
        assert (Match(asked[0], one), Match(asked[1], other)) == store.find(SHOP, asked).matches

    def test_an_unknown_identifier_beside_a_known_one(self, store: IdentityStore) -> None:
        """Only an identifier that the map has is matched."""
        binding = ann(store)
        matches = store.find(SHOP, (email("nobody@shop.org"), external_id("ann"), profile_id("NONE"))).matches
        assert (Match(external_id("ann"), binding),) == matches

    def test_a_phone_number_leads_to_no_binding(self, store: IdentityStore) -> None:
        """A phone number is kept with the binding but leads to no binding, not even beside an identifier."""
        binding = bound(store, Change(Binding("ann", "ann@shop.org", phone_number="+12025550123")))
        phone = Identifier(Kind.PHONE_NUMBER, "+12025550123")
        assert "+12025550123" == binding.phone_number
        assert match_of(store, phone) is None
        assert (external_id("ann"),) == tuple(
            match.identifier for match in store.find(SHOP, (external_id("ann"), phone)).matches
        )

    def test_two_bindings_may_have_the_same_phone_number(self, store: IdentityStore) -> None:
        """A phone number is not unique."""
        bound(store, Change(Binding("ann", None, phone_number="+12025550123")))
        assert "bound" == store.bind(SHOP, Change(Binding("ben", None, phone_number="+12025550123"))).status

    def test_a_kind_of_identifier_is_a_world_of_its_own(self, store: IdentityStore) -> None:
        """The same text as another kind of identifier is another identifier."""
        ann(store)
        assert match_of(store, profile_id("ann")) is None
        assert "bound" == store.bind(SHOP, Change(Binding("PANN", None, "ann"))).status

    def test_each_change_raises_the_version(self, store: IdentityStore) -> None:
        """A binding keeps its key, and its version rises."""
        first = ann(store)
        second = bound(store, Change(first))
        assert first.key == second.key != ""
        assert first.version < second.version
        assert second == owner(store, email("ann@shop.org"))

    def test_a_verified_change_bears_the_time(self, store: IdentityStore, clock: StoreClock) -> None:
        """`verified` sets `verified_at` to the store's clock."""
        binding, before = ann(store), now(store)
        clock.advance(clock.moment)
        again = bound(store, Change(binding))
        assert again.verified_at is not None
        assert before < again.verified_at <= now(store)

    @pytest.mark.parametrize("verified_at", [None, 1_234.5])
    def test_an_unverified_change_keeps_its_time(self, store: IdentityStore, verified_at: float | None) -> None:
        """Without `verified` the binding's own `verified_at` is kept as it stands."""
        binding = replace(ann(store), verified_at=verified_at)
        assert verified_at == bound(store, Change(binding, verified=False)).verified_at

    def test_another_version_is_stale(self, store: IdentityStore) -> None:
        """A change to an older version is refused, and the outcome has the binding as it is now."""
        first = ann(store)
        second = bound(store, Change(replace(first, phone_number="+12025550123")))
        before = everything(store)
        outcome = store.bind(SHOP, Change(replace(first, email="new@shop.org"), journal=JournalEntry("x")))
        assert BindOutcome("stale", second) == outcome
        assert before == everything(store)

    def test_a_binding_that_is_gone_is_stale(self, store: IdentityStore) -> None:
        """A change to a binding that was removed does not bring it back, not even under a new one of the same pair."""
        gone = ann(store)
        store.remove(SHOP, external_id("ann"))
        assert BindOutcome("stale") == store.bind(SHOP, Change(gone))
        again = ann(store)
        # A call that has read the first binding must not write onto the second, although the identifiers are the same.
        assert again.key != gone.key
        assert BindOutcome("stale") == store.bind(SHOP, Change(gone))

    def test_a_key_that_never_was_is_stale(self, store: IdentityStore) -> None:
        """A key that this store never gave leads to no binding."""
        assert BindOutcome("stale") == store.bind(SHOP, Change(Binding("ann", None, key="no key", version=1)))

    @pytest.mark.parametrize(
        "pair", [Binding("eve", "eve@shop.org"), Binding("eve", None), Binding(None, "eve@shop.org")]
    )
    def test_a_new_binding_of_the_same_pair_is_stale(self, store: IdentityStore, pair: Binding) -> None:
        """Of two calls that bind the same new pair, the second gets the first one's binding."""
        # Stale, and no conflict: the second call means the same customer, and goes on with the first one's binding.
        stands = bound(store, Change(pair))
        assert BindOutcome("stale", stands) == store.bind(SHOP, Change(replace(pair, profile_id="PNEW")))

    @pytest.mark.parametrize(
        "taken",
        [
            Binding("ann", None),
            Binding("ann", "new@shop.org"),
            Binding(None, "ann@shop.org"),
            Binding("new", "ann@shop.org"),
            Binding("new", "new@shop.org", "PANN"),
        ],
    )
    def test_a_new_binding_takes_nothing_away(self, store: IdentityStore, taken: Binding) -> None:
        """An identifier that is current on another binding is a conflict, which names that binding."""
        stands = ann(store)
        before = everything(store)
        assert BindOutcome("conflict", stands) == store.bind(SHOP, Change(taken, journal=JournalEntry("x")))
        assert before == everything(store)

    @pytest.mark.parametrize("taken", [{"external_id": "ann"}, {"email": "ann@shop.org"}, {"profile_id": "PANN"}])
    def test_a_changed_binding_takes_nothing_away(self, store: IdentityStore, taken: dict[str, str]) -> None:
        """The same holds for a change of an existing binding, and the lease stays."""
        stands, other = ann(store), ben(store)
        lease = leased(store, email("ben@shop.org"))
        before = everything(store)
        change = Change(replace(other, **taken), token=lease.token, retire=frozenset({email("ann@old.org")}))  # type: ignore[arg-type]  # each is a field of text
        assert BindOutcome("conflict", stands) == store.bind(SHOP, change)
        assert before == everything(store)

    def test_the_token_is_judged_before_the_version(self, store: IdentityStore) -> None:
        """A change that is fenced, stale and in conflict is fenced."""
        ann(store)
        other = ben(store)
        # A holder that was replaced has to learn of that first. Told of the version, it would read again and go on.
        bad = replace(other, version=other.version + 7, email="ann@shop.org")
        assert BindOutcome("fenced") == store.bind(SHOP, Change(bad, token=4_711))

    def test_the_version_is_judged_before_uniqueness(self, store: IdentityStore) -> None:
        """A change that is stale and in conflict is stale."""
        ann(store)
        other = ben(store)
        # What the caller has read is out of date, so the conflict may be too.
        bad = replace(other, version=other.version + 7, email="ann@shop.org")
        assert BindOutcome("stale", other) == store.bind(SHOP, Change(bad))

    @pytest.mark.parametrize(
        ("new", "old"),
        [
            ({"email": "new@shop.org"}, email("ann@shop.org")),
            ({"email": None}, email("ann@shop.org")),
            ({"external_id": "new"}, external_id("ann")),
            ({"external_id": None}, external_id("ann")),
        ],
    )
    def test_what_a_change_replaces_is_retired(
        self, store: IdentityStore, clock: StoreClock, new: dict[str, str | None], old: Identifier
    ) -> None:
        """From then on the former email or external id leads to the binding that had it, as a retired one."""
        first, before = ann(store), now(store)
        clock.advance(clock.moment)
        changed = bound(store, Change(replace(first, **new)))  # type: ignore[arg-type]  # each is a field of text
        match = match_of(store, old)
        assert match is not None
        assert match.retired_at is not None
        assert before < match.retired_at <= now(store)
        assert Match(old, changed, match.retired_at) == match

    def test_a_replaced_profile_id_is_forgotten(self, store: IdentityStore) -> None:
        """A profile id that a change replaces leads to no binding."""
        bound(store, Change(replace(ann(store), profile_id="PNEW")))
        assert match_of(store, profile_id("PANN")) is None

    def test_one_find_tells_current_from_retired(self, store: IdentityStore) -> None:
        """A pair of a current and a retired identifier has one match of each sort, on the same binding."""
        changed = bound(store, Change(replace(ann(store), email="new@shop.org")))
        found = store.find(SHOP, (external_id("ann"), email("ann@shop.org")))
        assert changed == found.current(Kind.EXTERNAL_ID)
        assert (None, None) == (found.current(Kind.EMAIL), found.current(Kind.PROFILE_ID))
        assert (None, None) == (found.retired(Kind.EXTERNAL_ID), found.retired(Kind.PROFILE_ID))
        retired = found.retired(Kind.EMAIL)
        assert retired is not None
        assert changed == retired.binding

    def test_further_identifiers_are_retired_on_request(self, store: IdentityStore) -> None:
        """`retire` retires identifiers that the binding never had."""
        names = (email("ann@old.org"), external_id("old"), profile_id("POLD"))
        binding = bound(store, Change(replace(ann(store)), retire=frozenset(names)))
        assert [binding] * 3 == [former_owner(store, name) for name in names]

    def test_ownership_beats_retirement(self, store: IdentityStore) -> None:
        """An identifier that is current on any binding is not retired by request."""
        one, other = ann(store), ben(store)
        names = frozenset({email("ann@shop.org"), email("ben@shop.org"), profile_id("PANN")})
        changed = bound(store, Change(other, retire=names))
        assert [one, changed, one] == [owner(store, name) for name in sorted(names)]

    def test_binding_a_retired_identifier_makes_it_current(self, store: IdentityStore) -> None:
        """A former address of one customer that is bound to another belongs to the other alone."""
        bound(store, Change(replace(ann(store), email="new@shop.org")))
        other = bound(store, Change(Binding("ben", "ann@shop.org")))
        assert other == owner(store, email("ann@shop.org"))

    def test_a_customer_may_go_back(self, store: IdentityStore) -> None:
        """An address that becomes current again is no longer retired, and the other one is."""
        away = bound(store, Change(replace(ann(store), email="new@shop.org")))
        back = bound(store, Change(replace(away, email="ann@shop.org")))
        assert back == owner(store, email("ann@shop.org"))
        assert back == former_owner(store, email("new@shop.org"))

    def test_an_identifier_is_retired_from_one_binding_at_most(self, store: IdentityStore) -> None:
        """The later retirement counts."""
        changed = bound(store, Change(replace(ann(store), email="new@shop.org")))
        other = bound(store, Change(ben(store), retire=frozenset({email("ann@shop.org")})))
        assert changed != other == former_owner(store, email("ann@shop.org"))

    def test_a_thousand_retired_addresses_all_lead_home(self, store: IdentityStore) -> None:
        """Each of a customer's many former addresses leads to the customer's binding."""
        names = tuple(email(f"ann{number}@old.org") for number in range(1000))
        binding = bound(store, Change(ann(store), retire=frozenset(names)))
        found = store.find(SHOP, names)
        assert names == tuple(match.identifier for match in found.matches)
        assert {binding} == {match.binding for match in found.matches}

    def test_absorbing_unites_two_bindings(self, store: IdentityStore) -> None:
        """The absorbed binding's identifiers are retired from the other, which may also make them current."""
        one, other = ann(store), ben(store)
        united = bound(store, Change(replace(one, email="ben@shop.org"), absorb=(other.key,)))
        assert 1 == store.count(SHOP)
        assert united == owner(store, email("ben@shop.org"))
        names = (email("ann@shop.org"), external_id("ben"), profile_id("PBEN"))
        assert [united] * 3 == [former_owner(store, name) for name in names]

    def test_a_new_binding_may_absorb(self, store: IdentityStore) -> None:
        """A new binding may absorb others too."""
        one, other = ann(store), ben(store)
        united = bound(store, Change(Binding("ann", "ben@shop.org"), absorb=(one.key, other.key)))
        assert 1 == store.count(SHOP)
        assert united == owner(store, external_id("ann")) == former_owner(store, external_id("ben"))

    def test_absorbing_keeps_the_times_of_what_was_retired(self, store: IdentityStore, clock: StoreClock) -> None:
        """An identifier that was retired from the absorbed binding keeps its time of retirement."""
        one, other = ann(store), bound(store, Change(replace(ben(store), email="new@shop.org")))
        before = match_of(store, email("ben@shop.org"))
        assert before is not None
        clock.advance(clock.moment)
        united = bound(store, Change(one, absorb=(other.key,)))
        assert Match(email("ben@shop.org"), united, before.retired_at) == match_of(store, email("ben@shop.org"))
        current_until_now = match_of(store, email("new@shop.org"))
        assert current_until_now is not None
        assert (before.retired_at or 0.0) < (current_until_now.retired_at or 0.0) <= now(store)

    def test_absorbing_what_is_gone_or_itself_is_passed_over(self, store: IdentityStore) -> None:
        """A key without a binding, or the binding's own key, is skipped."""
        one, other = ann(store), ben(store)
        store.remove(SHOP, email("ben@shop.org"))
        united = bound(store, Change(replace(one, profile_id="PNEW"), absorb=(other.key, one.key)))
        assert united == owner(store, email("ann@shop.org"))
        assert (None, None) == (match_of(store, email("ben@shop.org")), match_of(store, profile_id("PANN")))

    def test_a_refused_change_absorbs_nothing(self, store: IdentityStore) -> None:
        """A conflict with a third binding leaves the one to be absorbed as it is."""
        one, other = ann(store), ben(store)
        third = bound(store, Change(Binding("eve", "eve@shop.org")))
        before = everything(store)
        change = Change(replace(one, email="eve@shop.org"), absorb=(other.key,))
        assert BindOutcome("conflict", third) == store.bind(SHOP, change)
        assert before == everything(store)

    def test_removing_forgets_a_binding_and_its_past(self, store: IdentityStore) -> None:
        """After `remove` nothing leads to the customer, and only what is current can be named to it."""
        bound(store, Change(replace(ann(store), email="new@shop.org"), retire=frozenset({external_id("old")})))
        assert store.remove(SHOP, email("ann@shop.org")) is False
        assert store.remove(SHOP, email("new@shop.org")) is True
        names = (
            email("ann@shop.org"),
            email("new@shop.org"),
            external_id("ann"),
            external_id("old"),
            profile_id("PANN"),
        )
        assert () == store.find(SHOP, names).matches
        assert 0 == store.count(SHOP)
        assert store.remove(SHOP, email("new@shop.org")) is False

    def test_removing_leaves_others_alone(self, store: IdentityStore) -> None:
        """`remove` touches neither other bindings, nor the journal, nor a lease."""
        bound(store, Change(ann(store), journal=JournalEntry("change_email", "a", "b")))
        other = ben(store)
        lease = leased(store, email("ann@shop.org"))
        store.remove(SHOP, external_id("ann"))
        assert other == owner(store, profile_id("PBEN"))
        assert 1 == len(store.journal(SHOP, since=0))
        assert store.renew(SHOP, lease.token, ttl=1.0)

    def test_a_retired_identifier_can_be_released(self, store: IdentityStore) -> None:
        """`release_identifier` forgets a former identifier, once, and never a current one."""
        bound(store, Change(replace(ann(store), email="new@shop.org")))
        assert store.release_identifier(SHOP, email("ann@shop.org")) is True
        assert match_of(store, email("ann@shop.org")) is None
        assert store.release_identifier(SHOP, email("ann@shop.org")) is False
        assert store.release_identifier(SHOP, email("new@shop.org")) is False
        assert owner(store, email("new@shop.org")) is not None
