"""The search for profiles: what a filter finds (Klaviyo's *Get Profiles*, *Get Profiles for List*).

The search looks at what the account shows, which may be late; a read by id never is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo.testing.simulator.filters import AMONG, AROUND, RANGE, SAME
from safeklaviyo.testing.simulator.pages import Listing
from safeklaviyo.testing.simulator.records import Profile
from safeklaviyo.testing.simulator.refusals import invalid_parameter
from safeklaviyo.testing.simulator.tables import KINDS, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.filters import Term
    from safeklaviyo.testing.simulator.records import Asked, Suppression

_GENERAL = "subscriptions.email.marketing.suppression"
_LISTED = "subscriptions.email.marketing.list_suppressions"


def _of(read: Callable[[Suppression], Any], *, listed: bool) -> Callable[[Profile], tuple[Any, ...]]:
    """Return a reader of something in all of a profile's suppressions, in general or by list."""
    return lambda profile: tuple(read(each) for each in profile.suppressions if (each.list_id is not None) is listed)


_VALUES: Mapping[str, Callable[[Profile], Any]] = {
    "created": lambda profile: profile.created,
    "updated": lambda profile: profile.updated,
    f"{_GENERAL}.reason": _of(lambda each: each.reason, listed=False),
    f"{_GENERAL}.timestamp": _of(lambda each: each.at, listed=False),
    f"{_LISTED}.reason": _of(lambda each: each.reason, listed=True),
    f"{_LISTED}.timestamp": _of(lambda each: each.at, listed=True),
    f"{_LISTED}.list_id": _of(lambda each: each.list_id, listed=True),
}


def _latest(name: str) -> Callable[[Profile], tuple[float, int]]:
    return lambda profile: (max(_VALUES[name](profile), default=0.0), profile.serial)


PROFILES: Listing[Profile] = Listing(
    {
        **dict.fromkeys(("id", *KINDS), AMONG),
        "_kx": SAME,
        "created": AROUND,
        "updated": AROUND,
        f"{_GENERAL}.reason": SAME,
        f"{_GENERAL}.timestamp": RANGE,
        f"{_LISTED}.reason": SAME,
        f"{_LISTED}.timestamp": RANGE,
        f"{_LISTED}.list_id": SAME,
    },
    _VALUES,
    {
        # The serial decides between equal times, which a standing clock gives: no page skips or repeats a profile.
        "created": lambda profile: (profile.created, profile.serial),
        "updated": lambda profile: (profile.updated, profile.serial),
        "email": lambda profile: (profile.email or "", profile.serial),
        "id": lambda profile: profile.id,
        **{name: _latest(name) for name in (f"{_GENERAL}.timestamp", f"{_LISTED}.timestamp")},
    },
)

Member = tuple[Profile, float]
"""A profile, and when it joined."""

MEMBERS: Listing[Member] = Listing(
    {
        **dict.fromkeys(("email", "phone_number", "profile_id", "push_token"), AMONG),
        "_kx": SAME,
        "joined_group_at": RANGE,
    },
    {"joined_group_at": lambda member: member[1]},
    {"joined_group_at": lambda member: (member[1], member[0].serial)},
)


def search(account: Account, asked: Asked) -> tuple[list[Profile], dict[str, str | None]]:
    """Return one page, and its links.

    Raises:
        Refusal: 400 for a malformed query.
    """
    return PROFILES.cut(asked, _matching(account, PROFILES.terms(asked)))


def members(account: Account, asked: Asked, group_id: str) -> tuple[list[Member], dict[str, str | None]]:
    """Return one page of a list or segment, and its links.

    Raises:
        Refusal: 400 for a malformed query.
    """
    # Members are read as they are: the lag is one of the search for profiles.
    found: list[Member] = []
    terms = MEMBERS.terms(asked)
    for (group, profile_id), joined in account.members.items():
        profile = account.get(profile_id)
        if group == group_id and profile is not None:
            found.append((profile, joined))
    for term in terms:
        if term.name == "joined_group_at":
            found = [member for member in found if term.meets(member[1])]
        else:
            described = {profile.id for profile in _named(account.live, term)}
            found = [member for member in found if member[0].id in described]
    return MEMBERS.cut(asked, found)


def _matching(account: Account, terms: list[Term]) -> list[Profile]:
    if not terms:
        return list(account.shown)
    first, *others = (_described(account, term) for term in terms)
    return [profile for profile in first.values() if all(profile.id in other for other in others)]


def _described(account: Account, term: Term) -> dict[str, Profile]:
    limit = account.readings.any_limit
    if limit is not None and len(term.values) > limit:
        raise invalid_parameter(f"Invalid filter provided: more than {limit} values.", "filter")
    read = _VALUES.get(term.name)
    found = _named(account.shown, term) if read is None else filter(lambda each: term.meets(read(each)), account.shown)
    return {profile.id: profile for profile in found}


def _named(shown: Table, term: Term) -> Iterator[Profile]:
    for value in term.values:
        if term.name in KINDS:
            yield from shown.owners(term.name, value)
        elif term.name in {"id", "profile_id"} and (profile := shown.get(value)):
            yield profile
