"""The case table of `change_email`: what Klaviyo holds of a customer, whose the new address is, and what comes of it.

The expected end of each case follows from rules about people, stated in `expected`; how late the search is, and whether
the map knows the customer, may change what is asked of Klaviyo, and not who anybody is afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import pytest

from safeklaviyo import AsyncKlaviyo, IdentityError, Klaviyo, ProfileConflictError
from safeklaviyo.testing import KlaviyoSimulator
from support.scenes import (
    ACCOUNT,
    ANN,
    NEW,
    delete,
    edit,
    leases,
    persist,
    rejected,
    rejected_for_good,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo import EmailChange
    from safeklaviyo.stores.memory import MemoryStore
    from safeklaviyo.testing import Profile

pytestmark = pytest.mark.proof

OLD = ANN["email"]
Pair = tuple[str | None, str | None]
SHAPES: dict[str, list[Pair]] = {
    "by_id": [("ann-1", None)],
    "by_old": [(None, OLD)],
    "both": [("ann-1", OLD)],
    "two": [("ann-1", None), (None, OLD)],
    "neither": [],
}
EVE = ("eve-3", NEW)
ORPHAN = (None, NEW)
OTHERS: dict[str, Pair | None] = {"free": None, "own": None, "customer": EVE, "orphan": ORPHAN, "suppressed": ORPHAN}


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        found: What Klaviyo holds of the customer.
        new: Whose the new address is.
        search: When Klaviyo's search shows it: at once; the new address's holder later, so that a 409 comes although
            the search found nothing; or the customer's own profiles later as well.
        on_taken: As the caller says.
        mapped: The identity map knows the customer's pair; what Klaviyo holds was changed by hand since.
        claim: How the caller names the customer.
    """

    found: str
    new: str
    search: Literal["prompt", "late_other", "late"]
    on_taken: Literal["refuse", "merge"]
    mapped: bool
    claim: Literal["id", "old", "both"]

    def __str__(self) -> str:
        known = "mapped" if self.mapped else "unmapped"
        return f"{self.found}-new_{self.new}-{self.search}-{self.on_taken}-{known}-named_by_{self.claim}"

    @property
    def exists(self) -> bool:
        """Whether there can be such a case: an address cannot be on a profile that is not there."""
        if self.new != "own":
            return True
        return self.found != "neither" and (self.mapped or self.search != "prompt" or self.found in {"by_id", "two"})

    @property
    def differs(self) -> bool:
        """Whether there is no other case that is the same."""
        is_about_taken = OTHERS[self.new] is not None
        if self.on_taken == "merge" and not is_about_taken:
            return False
        match self.search:
            case "prompt":
                return True
            case "late_other":
                return is_about_taken and self.claim == ("id" if self.mapped else "both")
            case "late":
                return not self.mapped

    @property
    def own(self) -> list[Pair]:
        """What Klaviyo holds of the customer, as a read by profile id shows it."""
        pairs = SHAPES[self.found]
        return [(pairs[0][0], NEW), *pairs[1:]] if self.new == "own" else pairs

    @property
    def other(self) -> Pair | None:
        """The other profile that has the new address."""
        return OTHERS[self.new]


@dataclass(frozen=True, slots=True)
class End:
    """How a case ends.

    Attributes:
        status: As `change_email` says it, or that it refuses.
        left: The pairs of all profiles, once quiet.
    """

    status: Literal["changed", "unchanged", "refused"]
    left: frozenset[Pair]


def cases() -> Iterator[Case]:
    """Yield every case that there can be, once."""
    for found, new, search, on_taken, mapped, claim in product(
        SHAPES, OTHERS, ("prompt", "late_other", "late"), ("refuse", "merge"), (True, False), ("id", "old", "both")
    ):
        case = Case(found, new, search, on_taken, mapped, claim)
        if case.exists and case.differs:
            yield case


def expected(case: Case) -> End:
    """Say how a case has to end.

    Whoever the map knows is their binding, however named, and their profile the one the map knows. Of anybody else the
    caller knows what they name: with an id alone, somebody whose address nobody knows gets the new one as their first;
    with an old address, whoever has that. An id and an old address on two profiles are nobody for certain, unless
    the one with the id shows the new address already. A customer who is not mapped and has no profile takes an orphan
    with their address (R4); a mapped one whose profile is gone gets the next one first. Otherwise an orphan is merged
    only on request, only where that costs no consent, and only into a profile with an address.
    """
    rest: list[Pair] = []
    match case.mapped, case.claim, case.found:
        case (True, _, _):
            external_id, rest = "ann-1", case.own[1:]
        case (False, "id", _):
            return _first_address(case)
        case (False, "both", "two" | "by_id") if case.new == "own":
            return End("unchanged", frozenset(case.own))
        case (False, "both", "two"):
            return _refused(case)
        case (False, "old", "two"):
            external_id, rest = None, case.own[:1]
        case (False, "old", "by_id"):
            external_id, rest = None, case.own
        case (False, "old", "both") if case.new != "own":
            external_id = "ann-1"
        case (False, "old", "both"):
            external_id, rest = None, case.own
        case (False, "old", "by_old") if case.new == "own":
            external_id, rest = None, case.own
        case (False, "both", "by_old") if case.new == "own":
            external_id, rest = "ann-1", case.own
        case (False, claim, _):
            external_id = None if claim == "old" else "ann-1"
    return _moved(case, external_id, rest)


def _moved(case: Case, external_id: str | None, rest: list[Pair]) -> End:
    """The customer's profile has the new address, unless it is anybody else's; an orphan's may be merged."""
    holder = case.other or next((pair for pair in rest if pair[1] == NEW), None)
    if holder is None:
        return End("changed", frozenset({(external_id, NEW), *rest}))
    may_merge = case.on_taken == "merge" and holder == ORPHAN and case.new != "suppressed"
    has_address = not case.mapped or case.found not in {"by_id", "two"}
    if not (may_merge and has_address):
        return _refused(case)
    rest = [pair for pair in rest if pair != holder]
    return End("changed", frozenset({(external_id, NEW), *rest}))


def _first_address(case: Case) -> End:
    """Somebody who is named by their id alone."""
    theirs = [pair for pair in case.own if pair[0] == "ann-1"]
    rest = [pair for pair in case.own if pair not in theirs]
    if theirs and theirs[0][1] == NEW:
        return End("unchanged", frozenset(case.own))
    if theirs and theirs[0][1] is not None:
        return _moved(case, "ann-1", rest)
    if case.other == EVE or (theirs and case.other == ORPHAN):
        return _refused(case)
    # Whoever has no profile takes the one with their address, as with any first contact (R4).
    return End("changed", frozenset({("ann-1", NEW), *(pair for pair in rest if pair != ORPHAN)}))


def _refused(case: Case) -> End:
    return End("refused", frozenset({*case.own, *({case.other} - {None})}))


def place(simulator: KlaviyoSimulator, pair: Pair, *, seen: bool, **more: object) -> Profile:
    """Add a profile; one that is not seen yet is known to the search as somebody else."""
    external_id, email = pair
    if seen:
        return simulator.add_profile(external_id=external_id, email=email, **more)
    profile = simulator.add_profile(email=f"nobody-{len(simulator.profiles)}@shop.test", **more)
    edit(simulator, profile.id, external_id=external_id, email=email)
    return profile


def stage(case: Case, simulator: KlaviyoSimulator, k) -> None:
    """Bring about what a case begins with. What is the customer's own has a mark and a consent to lose."""
    mine = {"properties": {"mine": True}, "consent": "SUBSCRIBED"}
    seen = case.search != "late"
    before = SHAPES[case.found]
    if case.mapped:
        known = place(simulator, ("ann-1", OLD), seen=seen, **mine).id
        k.identify(**ANN)
        if not before:
            delete(simulator, known)
        else:
            edit(simulator, known, external_id=before[0][0], email=before[0][1])
        own = [known, *(place(simulator, pair, seen=seen).id for pair in before[1:])]
    else:
        own = [place(simulator, pair, seen=seen, **mine).id for pair in before]
    if seen:
        simulator.drain()
    if case.new == "own":
        edit(simulator, own[0], email=NEW)
        if case.found in {"by_id", "two"} and seen:
            simulator.drain()
    if case.other is not None:
        theirs = {"properties": {"theirs": True}, "suppressed": case.new == "suppressed"}
        place(simulator, case.other, seen=case.search == "prompt", **theirs)


@pytest.fixture
def simulator(case: Case) -> KlaviyoSimulator:
    """A pretend Klaviyo whose search is as late as the case says."""
    return KlaviyoSimulator(account=ACCOUNT, search_lag=0 if case.search == "prompt" else "until_drain", queue_lag=0.0)


def each_with_a_client() -> Iterator[Any]:
    """Yield every case with both clients: with each in turn as a quick test, and with the other as a slow one."""
    for number, case in enumerate(cases()):
        for turn, kind in enumerate((Klaviyo, AsyncKlaviyo)):
            is_quick = number % 2 == turn
            marks = () if is_quick else pytest.mark.slow
            yield pytest.param(kind, case, id=f"{'sync' if kind is Klaviyo else 'async'}-{case}", marks=marks)


@pytest.mark.parametrize(("client", "case"), list(each_with_a_client()), indirect=["client"])
def test_case(client, simulator, store, case):
    """The case ends as the rules about people say, and nobody gains, loses or shares anything on the way.

    What becomes of a case is decided by a generator, and both clients only carry it out: a quick run takes each case
    once, and half of them with either client. `.ci/long` takes every case with both.
    """
    k = client()
    stage(case, simulator, k)
    before = {profile.id: profile for profile in simulator.profiles}
    who = {"external_id": "ann-1", "old_email": OLD}
    named = {
        name: value
        for name, value in who.items()
        if case.claim == "both" or name.startswith(("ext", "old")[case.claim == "old"])
    }
    end = expected(case)
    if end.status == "refused":
        error = persist(simulator, rejected_for_good, k.change_email, NEW, on_taken=case.on_taken, **named)
        # A conflict that a search which lags may explain is one to wait for, and no longer than that.
        if error.may_retry:
            assert ("late", ProfileConflictError) == (case.search, type(error))
            simulator.advance(error.retry_after)
            error = rejected(k.change_email, NEW, on_taken=case.on_taken, **named)
        assert (True, "not_applied", False) == (isinstance(error, IdentityError), error.outcome, error.may_retry)
        check_refused(simulator, before)
    else:
        change = persist(simulator, k.change_email, NEW, on_taken=case.on_taken, **named)
        simulator.drain()
        assert end.left == frozenset((profile.external_id, profile.email) for profile in simulator.profiles)
        assert change.status in {end.status, "changed"}
        check_moved(simulator, before, change)
        assert change.profile_id == k.track("Ordered", email=NEW).profile_id
        assert change.old_email in ({OLD} if case.mapped else {OLD, NEW, None})
        if change.old_email == OLD:
            assert change.profile_id == k.track("Ordered", email=OLD).profile_id
        check_map(simulator, store)
    assert 0 == leases(store)


def check_refused(simulator: KlaviyoSimulator, before: dict[str, Profile]) -> None:
    """A refusal leaves everybody as they were, but for the first contact of the pair that was named."""
    for profile in simulator.profiles:
        was = before.pop(profile.id, None)
        if was is None or was.email != NEW:
            assert profile.external_id in {"ann-1", None if was is None else was.external_id}
            assert profile.email in {OLD, None if was is None else was.email}
        else:
            assert was == profile
    assert {} == before


def check_moved(simulator: KlaviyoSimulator, before: dict[str, Profile], change: EmailChange) -> None:
    """The customer's profile kept what it was and had; what was merged into it came along."""
    now = {profile.id: profile for profile in simulator.profiles}
    assert change.profile_id in now
    assert before.keys() - now.keys() == {change.merged_profile_id} - {None}
    theirs = now[change.profile_id]
    for profile_id in {change.profile_id, change.merged_profile_id} & before.keys():
        assert before[profile_id].properties.items() <= theirs.properties.items()
        assert before[profile_id].consent in {theirs.consent, "NEVER_SUBSCRIBED"}
    was = before.get(change.profile_id)
    assert theirs.suppressed is (was is not None and was.suppressed)


def check_map(simulator: KlaviyoSimulator, store: MemoryStore) -> None:
    """What the map says of a profile is what Klaviyo shows."""
    shown = {profile.id: (profile.external_id, profile.email) for profile in simulator.profiles}
    for binding in store.page(ACCOUNT).bindings:
        assert (binding.external_id, binding.email) == shown[str(binding.profile_id)]
