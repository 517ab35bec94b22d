"""Random histories: customers who share and swap addresses, faults, delays, restarts and edits by hand (P3, P4, P5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from safeklaviyo import IdentityError, Policy, RetryPolicy, SafeKlaviyoError
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.scenes import browse, by_hand, expire, persist

if TYPE_CHECKING:
    from safeklaviyo.testing import Asked

pytestmark = pytest.mark.proof

IDS = st.sampled_from(["ann-1", "bob-2", "cat-3"])
EMAILS = st.sampled_from(["w@shop.test", "x@shop.test", "y@shop.test", "z@shop.test"])
WHO = st.one_of(
    st.fixed_dictionaries({"external_id": IDS, "email": EMAILS}),
    st.fixed_dictionaries({"external_id": IDS}),
    st.fixed_dictionaries({"email": EMAILS}),
)
FAULTS = st.sampled_from(
    [
        {"when": "before"},
        {"when": "after"},
        {"broken": "refused"},
        {"broken": "truncated", "when": "after"},
        {"status": 429, "headers": {"retry-after": "1"}},
        {"status": 503, "when": "before"},
        {"status": 503, "when": "after"},
        {"status": 500, "when": "after"},
        {"status": 400},
        {"status": 200, "body": "<html>", "when": "after"},
        {"status": 200, "body": "<html>"},
        {"status": 404, "body": "<html>"},
        {"status": 404, "body": "<html>", "when": "after"},
        {"status": 403, "body": "<html>"},
        {"status": 302, "body": ""},
        {"status": 404},
    ]
)
HAND = "hand@shop.test"


class Histories(RuleBasedStateMachine):
    """One shop, one map, and whatever may happen to them.

    Attributes:
        whose: The external id with which each profile was first named.
        accepted: The profile of each event that was accepted, by its key.
        doubtful: The keys of the events whose fate nobody knows.
        is_refused: Klaviyo has refused something without a reason, so that an interrupted write may have been closed.
        is_touched: Somebody has edited a profile by hand, or a browser has made one.
    """

    open_client: Any = None
    ends: ClassVar[list[int]] = []
    """How many accepted events were found, each once, at the end of each history."""

    @initialize(
        lag=st.sampled_from([0.0, 5.0, "until_drain"]),
        naming=st.sampled_from(["pair", "profile_id"]),
        attempts=st.sampled_from([1, 4]),
    )
    def begin(self, lag, naming, attempts) -> None:
        self.simulator = KlaviyoSimulator(search_lag=lag)
        self.store = MemoryStore(clock=self.simulator.now)
        self.arguments = {
            "policy": Policy(event_naming=naming, visible_wait=0.5),
            "retry": RetryPolicy(max_attempts=attempts),
        }
        self.whose: dict[str, str] = {}
        self.accepted: dict[str, str] = {}
        self.doubtful: set[str] = set()
        self.is_touched = self.is_calm = self.is_refused = False
        self.restart()

    @rule()
    def restart(self) -> None:
        self.k = self.open_client(self.simulator, self.store, **self.arguments)

    @rule(who=WHO, value=st.integers(0, 9))
    def identify(self, who, value) -> None:
        result = self._tried(lambda: self.k.identify({"value": value}, **who))
        if result is not None:
            self._belongs(result.profile_id, result.identity.external_id)

    @rule(who=WHO)
    def track(self, who) -> None:
        result = self._tried(lambda: self.k.track("Ordered", **who))
        if result is not None:
            self._belongs(result.profile_id, result.identity.external_id)
            self.accepted[result.unique_id] = result.profile_id

    @rule(who=WHO, email=EMAILS)
    def change_email(self, who, email) -> None:
        named = {"old_email" if name == "email" else name: value for name, value in who.items()}
        result = self._tried(lambda: self.k.change_email(email, **named))
        if result is not None:
            self._belongs(result.profile_id, result.external_id)

    @rule(who=WHO)
    def explain(self, who) -> None:
        before = len(self.simulator.journal)
        self.k.explain(**who)
        assert before == len(self.simulator.journal)

    @rule(fault=FAULTS, after=st.integers(0, 4))
    def fail(self, fault, after) -> None:
        met: list[Asked] = []

        def match(asked: Asked) -> bool:
            if self.is_calm or asked.headers.get("user-agent") == "by hand":
                return False
            met.append(asked)
            self.is_refused = self.is_refused or (len(met) > after and fault.get("status") == 400)
            return len(met) > after

        self.simulator.fail_next(match=match, **fault)

    @rule(which=st.integers(0, 3))
    def step(self, which) -> None:
        if which < len(self.simulator.pending):
            self.simulator.step(which)

    @rule(seconds=st.sampled_from([0.5, 10, 3600]))
    def wait(self, seconds) -> None:
        self.simulator.advance(seconds)

    @rule()
    def drain(self) -> None:
        self.simulator.drain()

    @rule(which=st.integers(0, 3), email=st.one_of(EMAILS, st.just(HAND)))
    def edit_by_hand(self, which, email) -> None:
        profiles = sorted(self.simulator.profiles, key=lambda profile: profile.id)
        if which < len(profiles):
            data = {"type": "profile", "id": profiles[which].id, "attributes": {"email": email}}
            answer = by_hand(self.simulator, "PATCH", f"/api/profiles/{profiles[which].id}", data)
            self.is_touched = self.is_touched or answer.status == 200

    @rule(email=EMAILS)
    def browse(self, email) -> None:
        browse(self.simulator, email=email)
        self.is_touched = True

    @invariant()
    def nobody_is_doubled(self) -> None:
        """Each customer has one profile, none is without an address, and the map names each profile once."""
        profiles = self.simulator.profiles
        ids = [profile.external_id for profile in profiles if profile.external_id is not None]
        assert len(set(ids)) == len(ids)
        assert 0 == self.simulator.id_only_profiles()
        bindings = self.store.page("SiMuLa").bindings
        for name in ("external_id", "email", "profile_id"):
            known = [value for each in bindings if (value := getattr(each, name)) is not None]
            assert len(set(known)) == len(known)

    @invariant()
    def nobody_is_taken_over(self) -> None:
        """A profile that was one customer's never shows another's external id."""
        for profile in self.simulator.profiles:
            if profile.external_id is not None:
                self._belongs(profile.id, profile.external_id)

    def teardown(self) -> None:
        """When what was cut off is finished, and everybody was identified again, all agree, and no event is lost."""
        if not hasattr(self, "k"):
            return
        self.is_calm = True
        for _ in range(2):
            expire(self.simulator)
            self.simulator.drain()
            self.k.recover()
            for binding in self.store.page("SiMuLa").bindings:
                self._heal(binding)
        self.nobody_is_doubled()
        self.nobody_is_taken_over()
        assert not self.store._accounts or not self.store._accounts["SiMuLa"].leases
        self._check_events()
        if not self.is_touched:
            self._check_agreement()
        self.ends.append(len(self.accepted))

    def _heal(self, binding) -> None:
        try:
            # A profile that an event has merged away counts as gone after a while.
            email = None if binding.external_id else binding.email
            persist(self.simulator, self.k.identify, external_id=binding.external_id, email=email)
        except IdentityError:
            # What was edited by hand stays so; and an address that has gone through several hands, put back by an
            # event that was queued for so long, is nobody's to repair without being asked.
            assert self.is_touched or self.arguments["policy"].event_naming == "pair"
            self.is_touched = True

    def _check_events(self) -> None:
        recorded = [event for event in self.simulator.events if event.metric == "Ordered"]
        keys = [event.unique_id for event in recorded]
        assert len(set(keys)) == len(keys)
        assert set(self.accepted) <= set(keys) <= set(self.accepted) | self.doubtful
        if not self.simulator.merged:
            assert self.accepted == {e.unique_id: e.profile_id for e in recorded if e.unique_id in self.accepted}

    def _check_agreement(self) -> None:
        bindings = {each.profile_id: each.identity for each in self.store.page("SiMuLa").bindings if each.profile_id}
        shown = {profile.id: (profile.external_id, profile.email) for profile in self.simulator.profiles}
        if self.is_refused:  # a profile whose first contact was closed, refused as it was, is found at the next call
            shown = {key: pair for key, pair in shown.items() if key in bindings}
        assert {key: (pair.external_id, pair.email) for key, pair in bindings.items()} == shown

    def _tried(self, call: Any) -> Any:
        try:
            return call()
        except SafeKlaviyoError as error:
            if error.unique_id is not None and error.outcome != "not_applied":
                self.doubtful.add(error.unique_id)
            return None

    def _belongs(self, profile_id: str | None, external_id: str | None) -> None:
        if profile_id is not None and external_id is not None:
            assert external_id == self.whose.setdefault(profile_id, external_id)


@pytest.mark.slow
def test_p4_random_histories_end_well(open_client):
    """P3, P4, P5: no history doubles a customer, gives a profile away, or counts an event twice."""

    class Mine(Histories):
        pass

    Mine.open_client = staticmethod(open_client)
    Mine.ends.clear()
    run_state_machine_as_test(
        Mine,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    assert any(Mine.ends)
