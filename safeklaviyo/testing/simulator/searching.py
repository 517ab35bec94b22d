"""The search for profiles: what a filter finds, in which order, a page at a time (Klaviyo's *Get Profiles*).

The search looks at what the account shows, which may be late; a read by id never is.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

from safeklaviyo.testing.simulator import filters
from safeklaviyo.testing.simulator.refusals import invalid_parameter
from safeklaviyo.testing.simulator.tables import KINDS, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.records import Asked, Profile

_CURSOR = "page[cursor]"
_SORTS: dict[str, Callable[[Profile], Any]] = {
    "created": lambda profile: (profile.created, profile.serial),
    "updated": lambda profile: (profile.updated, profile.serial),
    "email": lambda profile: (profile.email or "", profile.serial),
    "id": lambda profile: profile.id,
}


def search(account: Account, asked: Asked) -> tuple[list[Profile], dict[str, str | None]]:
    """Return one page, and its links.

    Raises:
        Refusal: 400 for a malformed query.
    """
    found = matching(account, asked.query.get("filter"))
    sort = asked.query.get("sort", "created")
    key = _SORTS.get(sort.removeprefix("-"))
    if key is None:
        raise invalid_parameter("This is not an allowed sort for this resource.", "sort")
    found.sort(key=key, reverse=sort.startswith("-"))
    size, start = page_size(asked, 20, 100), _offset(asked)
    links = {
        "self": _link(asked, start or None),
        "next": _link(asked, start + size) if start + size < len(found) else None,
        "prev": _link(asked, max(0, start - size)) if start else None,
    }
    return found[start : start + size], links


def matching(account: Account, text: str | None) -> list[Profile]:
    """Return the profiles that a filter describes; all without one.

    Raises:
        Refusal: 400 for a malformed filter.
    """
    if text is None:
        return list(account.shown)
    first, *others = (_described(account, term) for term in filters.parse(text))
    return [profile for profile in first.values() if all(profile.id in other for other in others)]


def page_size(asked: Asked, usual: int, largest: int) -> int:
    """Return how many rows a page has.

    Raises:
        Refusal: 400 for anything but 1 to the largest.
    """
    size = asked.query.get("page[size]", str(usual))
    if not size.isascii() or not size.isdigit() or not 1 <= int(size) <= largest:
        raise invalid_parameter(f"Page size must be an integer between 1 and {largest}.", "page[size]")
    return int(size)


def _described(account: Account, term: filters.Term) -> dict[str, Profile]:
    limit = account.readings.any_limit
    if limit is not None and len(term.values) > limit:
        raise invalid_parameter(f"Invalid filter provided: more than {limit} values.", "filter")
    found = _timed(account.shown, term) if term.name in filters.TIMES else _named(account.shown, term)
    return {profile.id: profile for profile in found}


def _named(shown: Table, term: filters.Term) -> Iterator[Profile]:
    for value in term.values:
        if term.name in KINDS:
            yield from shown.owners(term.name, value)
        elif term.name == "id" and (profile := shown.get(value)):
            yield profile


def _timed(shown: Table, term: filters.Term) -> Iterator[Profile]:
    later = term.operator == "greater-than"
    for profile in shown:
        at: float = getattr(profile, term.name)
        if at != term.moment and (at > term.moment) is later:
            yield profile


def _offset(asked: Asked) -> int:
    cursor = asked.query.get(_CURSOR)
    if not cursor:
        return 0
    # The official client sends the whole link as the cursor, unless the link begins with https.
    cursor = unquote(cursor.rpartition(f"{_CURSOR}=")[2].rpartition("page%5Bcursor%5D=")[2]).partition("&")[0]
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii")).decode("ascii")
        return int(text.removeprefix("next:"))
    except ValueError:
        raise invalid_parameter("Invalid page cursor.", _CURSOR) from None


def _link(asked: Asked, start: int | None) -> str:
    query = {name: value for name, value in asked.query.items() if name != _CURSOR}
    if start is not None:
        query[_CURSOR] = base64.urlsafe_b64encode(f"next:{start}".encode()).decode()
    return f"{asked.base}{asked.path}" + (f"?{urlencode(query)}" if query else "")
