"""Tying rows of a shop's data to Klaviyo's profiles, many at once (`bindings.add` with ``verify=True``).

Decided here: which profiles are asked for, and in which portions. Whether a profile is the row's is decided as first
contact decides it. The search may lag behind by minutes, as it does for first contact; but here its answer itself
counts, because a read of each profile would be a request for each row. Nothing is written to Klaviyo.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from safeklaviyo._api.profiles import list_profiles, search_any
from safeklaviyo._api.responses import read_profiles
from safeklaviyo._flows.call import send
from safeklaviyo._flows.deadlines import start_deadline
from safeklaviyo._flows.identity.reads import endless_pages, spellings, understood
from safeklaviyo._rules.evidence import contact_step
from safeklaviyo._rules.shown import email_of
from safeklaviyo.errors import IdentityError
from safeklaviyo.identity import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.models import Binding, Profile

_VALUES: Final = 100
"""Identifiers in one search: as many as a page has profiles."""
_LONGEST: Final = 6000
"""Letters of one search's path: servers take 8,000 at least."""
_TOO_MUCH: Final = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_URI_TOO_LONG}
)
_OTHER_EMAIL: Final = "Klaviyo has this external_id with another email; change_email is the verb that changes it"
_OTHER_PROFILE: Final = "Klaviyo has this customer on another profile than the row says"


@dataclass(frozen=True, slots=True, repr=False)
class Tie:
    """What Klaviyo says about a row.

    Attributes:
        binding: The row, with the profile's id if `is_tied`.
        is_tied: A profile shows the row's email and external id.
        problem: How Klaviyo contradicts the row; None if it does not.
    """

    binding: Binding
    is_tied: bool = False
    problem: str | None = None


class Search:
    """Searches for many identifiers. It remembers how many Klaviyo has accepted at once."""

    def __init__(self) -> None:
        self._size = _VALUES

    def tie(self, call: Call, rows: Sequence[Binding]) -> Flow[list[Tie]]:
        """Return what Klaviyo says about each row, in their order."""
        # Step 1: by the emails, which each row has. Most rows are decided by that.
        by_email = yield from self._profiles(call, Kind.EMAIL, [str(row.email) for row in rows])
        addressed: dict[str | None, list[Profile]] = {}
        for profile in by_email:
            addressed.setdefault(email_of(profile), []).append(profile)
        ties = [_tie(row, addressed.get(row.email, [])) for row in rows]
        # Step 2: by the ids of the others, because the id may be on a profile with another email.
        left = [row.external_id for row, tie in zip(rows, ties, strict=True) if not tie.is_tied and not tie.problem]
        by_id = yield from self._profiles(call, Kind.EXTERNAL_ID, [each for each in left if each is not None])
        identified: dict[str | None, list[Profile]] = {}
        for profile in by_id:
            identified.setdefault(profile.external_id, []).append(profile)
        return [
            tie if tie.is_tied or tie.problem or row.external_id not in identified
            else _tie(row, _each_once(addressed.get(row.email, []), identified[row.external_id]))
            for row, tie in zip(rows, ties, strict=True)
        ]  # fmt: skip

    def _profiles(self, call: Call, kind: Kind, values: Iterable[str]) -> Flow[list[Profile]]:
        """Return the profiles that any of these identifiers names, as the search shows them."""
        waiting = [spelling for value in dict.fromkeys(values) for spelling in spellings(kind, value)]
        profiles: list[Profile] = []
        while waiting:
            yield from start_deadline(call)
            portion = self._portion(kind, waiting)
            found = yield from self._found(call, kind, portion)
            # How many values Klaviyo accepts is not known. A single one that it refuses names no profile.
            if found is None and len(portion) > 1:
                self._size = len(portion) // 2
                continue
            profiles += found or []
            del waiting[: len(portion)]
        return profiles

    def _portion(self, kind: Kind, waiting: list[str]) -> list[str]:
        portion = waiting[: self._size]
        while len(portion) > 1 and len(search_any(kind, portion).path) > _LONGEST:
            portion = portion[: len(portion) // 2]
        return portion

    def _found(self, call: Call, kind: Kind, portion: list[str]) -> Flow[list[Profile] | None]:
        """Return the profiles of all pages; None if Klaviyo refuses the search."""
        profiles: list[Profile] = []
        seen: set[str] = set()
        request = search_any(kind, portion)
        while request.path not in seen:
            seen.add(request.path)
            response = yield from send(call, request, accept=_TOO_MUCH)
            if response.status in _TOO_MUCH:
                return None
            page = understood(read_profiles, response)
            profiles += page.profiles
            if page.next_path is None:
                return profiles
            request = list_profiles(cursor_url=page.next_path)
        raise endless_pages()


def _tie(row: Binding, profiles: Sequence[Profile]) -> Tie:
    """Decide about one row as first contact would, and leave what that would have to write to it."""
    try:
        step = contact_step(row.external_id, str(row.email), profiles)
    except IdentityError as error:
        return Tie(row, problem=f"{error}, in Klaviyo")
    if step.kind == "mismatch":
        return Tie(row, problem=_OTHER_EMAIL)
    if step.kind != "bind" or step.profile is None:
        return Tie(row)
    if row.profile_id not in {None, step.profile.id}:
        return Tie(row, problem=_OTHER_PROFILE)
    # A guest's profile may have an external id by now. Whether it is usable is seen at the first use (R12).
    is_tied = step.profile.external_id == row.external_id
    return Tie(replace(row, profile_id=step.profile.id) if is_tied else row, is_tied)


def _each_once(*found: Sequence[Profile]) -> list[Profile]:
    return list({profile.id: profile for profiles in found for profile in profiles}.values())
