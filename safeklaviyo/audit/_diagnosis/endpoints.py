"""What each endpoint does to a profile's identifiers, by the simulator's own functions.

Each function takes the account, the call, and the person of one of its rows. It returns the status that Klaviyo answers
and the profile that was written, if one was. Read next: `replays`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from safeklaviyo.audit._diagnosis.bodies import CLIENT
from safeklaviyo.testing.simulator import matching
from safeklaviyo.testing.simulator.persons import Person
from safeklaviyo.testing.simulator.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from safeklaviyo.audit._diagnosis.calls import Call
    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.records import Profile

    Written: TypeAlias = tuple[int, "Profile | None"]

SYNCHRONOUS: Final = frozenset({"create_profile", "update_profile", "create_or_update_profile", "update_person"})
"""The writes that are done when they are answered. Klaviyo does all others later."""
UNDOING: Final = frozenset({"merge_profiles", "request_profile_deletion"})
"""The calls by which a shop takes a profile away."""
NEVER_WARM: Final = frozenset({"create_profile"})
"""The writes that do not end well on a profile that has all the identifiers already."""
BY_ID: Final = frozenset({"update_profile", "update_person"})
"""The writes that name the profile in their path."""


def carry_out(account: Account, call: Call, person: Person) -> Written:
    """Carry out one row of a call."""
    return _HOW.get(call.operation, _meet)(account, call, person)


def unchanged(account: Account, person: Person) -> Profile | None:
    """Return the profile that has all identifiers of a row, if no other profile has any; None if there is none.

    Such a row changes no identifier.
    """
    if person.anonymous_id is not None:
        return None
    found = None if person.profile_id is None else account.live.get(person.profile_id)
    if person.profile_id is not None and found is None:
        return None
    for kind, value in person.identifiers.items():
        owners = [] if value is None else account.live.owners(kind, value)
        if len(owners) != 1 or (found is not None and owners[0].id != found.id):
            return None
        found = owners[0]
    return found


def _create(account: Account, _call: Call, person: Person) -> Written:
    try:
        return 201, matching.create(account, replace(person, profile_id=None))
    except Refusal as refusal:
        return refusal.status, None


def _update(account: Account, _call: Call, person: Person) -> Written:
    profile = account.get(person.profile_id or "")
    if profile is None:
        return 404, None
    try:
        return 200, matching.update(account, profile, person)
    except Refusal as refusal:
        return refusal.status, None


def _import(account: Account, _call: Call, person: Person) -> Written:
    try:
        profile, created = matching.create_or_update(account, person)
    except Refusal as refusal:
        return refusal.status, None
    return 201 if created else 200, profile


def _import_later(account: Account, call: Call, person: Person) -> Written:
    return 202, _import(account, call, person)[1]


def _meet(account: Account, _call: Call, person: Person) -> Written:
    return 202, matching.meet(account, person)


def _meet_browser(account: Account, _call: Call, person: Person) -> Written:
    """Carry out a browser's call (Klaviyo's *Create Client Profile*).

    It creates a profile, or adds identifiers that a profile lacks. It never replaces one.
    """
    found = next(iter(matching.owners_of(account, person).values()), None)
    if found is None:
        return 202, matching.meet(account, person)
    lacking = {kind: value for kind, value in person.named().items() if getattr(found, kind) is None}
    free = {kind: value for kind, value in lacking.items() if not account.live.owners(kind, value)}
    return 202, matching.store(account, found, Person(None, free))


def _subscribe(account: Account, call: Call, person: Person) -> Written:
    profile = _owner(account, person)
    # Klaviyo makes no profile for an id that it does not know, nor for a new address without a list.
    if profile is None and (person.profile_id is not None or not call.has_list):
        return 202, None
    return 202, _written(account, profile, person)


def _withdraw(account: Account, _call: Call, person: Person) -> Written:
    profile = _owner(account, person)
    if profile is not None or not account.readings.withdrawal_creates:
        return 202, profile
    return 202, _written(account, None, person)


def _owner(account: Account, person: Person) -> Profile | None:
    if person.profile_id is not None:
        return account.get(person.profile_id)
    return next(iter(matching.owners_of(account, person).values()), None)


def _written(account: Account, profile: Profile | None, person: Person) -> Profile:
    others = {} if profile is None else matching.others_of(account, profile, person)
    own = {kind: value for kind, value in person.identifiers.items() if kind not in others}
    return matching.store(account, profile, Person(None, own))


_HOW: Final[Mapping[str, Callable[[Account, Call, Person], Written]]] = {
    "create_profile": _create,
    "update_profile": _update,
    "update_person": _update,
    "create_or_update_profile": _import,
    "bulk_import_profiles": _import_later,
    "bulk_subscribe_profiles": _subscribe,
    "bulk_unsubscribe_profiles": _withdraw,
    "bulk_suppress_profiles": _withdraw,
    **dict.fromkeys(CLIENT.values(), _meet_browser),
    # A form in a browser gives an address and a number that belong together.
    "create_client_subscription": _meet,
}
