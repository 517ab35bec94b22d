"""The calls of a log: the people that each call names, and the profiles that each answer shows.

Decided here: which spellings count as one address or as one external id. Not here: how a log is read (`har`, `lines`),
and which calls are about one person (`people`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from safeklaviyo._placeholders import is_placeholder

if TYPE_CHECKING:
    from datetime import datetime

KEY: Final = "key:"
"""Begins the name of an account of which only the private key's hash is known."""
_WRITTEN_NUMBER = re.compile(r"'?([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)'?", re.IGNORECASE)
_ODD = re.compile(r"[^\w.-]")
_LONGEST_NUMBER = 40


@dataclass(frozen=True, slots=True, repr=False)
class Named:
    """One profile, as a request names it or an answer shows it.

    Attributes:
        profile_id: Klaviyo's id.
        external_id: The text that Klaviyo gets.
        email: The address as it was written.
        phone_number: The number as it was written.
        anonymous_id: The mark of a browser.
        clears: The kinds of identifiers that are given as null, which clears them on a profile.
        is_number: The external id was written as a number.
        key: The external id in the form that all its spellings share; None for a placeholder, which names no customer.
        address: The address in the form that all its spellings share; None for a placeholder.
        placeholder: The external id or the address is a placeholder.
    """

    profile_id: str | None = None
    external_id: str | None = None
    email: str | None = None
    phone_number: str | None = None
    anonymous_id: str | None = None
    clears: frozenset[str] = frozenset()
    is_number: bool = False
    key: str | None = None
    address: str | None = None
    placeholder: bool = False

    def __repr__(self) -> str:
        return f"Named(profile_id={self.profile_id!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Call:
    """One call of a log. Its `repr` shows no personal data, and none of its headers is kept.

    Attributes:
        index: Its place in its log: the entry of a HAR, or the line of a file, from 0.
        time: When the call was made, in UTC; None if the log does not say.
        path: Without the query.
        source: The name of the log's file.
        status: What was answered; None for no answer.
        operation: Klaviyo's name of the endpoint.
        account: What tells the accounts of the log apart.
        people: Whom the request names: one for most calls, one a row for bulk calls.
        shown: The profiles in the answer.
        owner_shown: The profile that a 409 names as the owner.
        searched: The kind and value of the identifier that a search asks for.
        merged: The source and destination of a merge.
        took: Seconds until the answer.
        happened: The time that the event itself has, in unix seconds.
        has_list: A subscription names a list, or is historical.
        accepted: Klaviyo took the call; None if the log does not tell.
    """

    index: int
    time: datetime | None
    method: str
    path: str
    source: str = ""
    status: int | None = None
    operation: str = ""
    account: str | None = None
    people: tuple[Named, ...] = ()
    shown: tuple[Named, ...] = ()
    owner_shown: str | None = None
    searched: tuple[str, str] | None = None
    merged: tuple[str, str] | None = None
    took: float | None = None
    happened: float | None = None
    has_list: bool = False
    accepted: bool | None = None

    def __repr__(self) -> str:
        return f"Call({self.index}, {self.method} {self.operation or self.path} -> {self.status})"


def object_of(value: object) -> dict[str, Any]:
    """Return a JSON object; anything else is an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def shown_path(path: str) -> str:
    """Return a path without parts that may be personal, such as an address in the place of an id (P8)."""
    return "/".join("{id}" if _ODD.search(part) else part for part in path.split("/"))


def named(
    *,
    profile_id: object = None,
    external_id: object = None,
    email: object = None,
    phone_number: object = None,
    anonymous_id: object = None,
    clears: frozenset[str] = frozenset(),
) -> Named:
    """Return a profile from the values of a document, which may have any type."""
    is_number = isinstance(external_id, int | float) and not isinstance(external_id, bool)
    own_id, address = _text(external_id), _text(email)
    spoilt = any(value is not None and is_placeholder(value) for value in (own_id, address))
    return Named(
        _text(profile_id),
        own_id,
        address,
        _text(phone_number),
        _text(anonymous_id),
        clears,
        is_number,
        None if own_id is None or is_placeholder(own_id) else _key(own_id),
        None if address is None or is_placeholder(address) else address.lower(),
        spoilt,
    )


def _text(value: object) -> str | None:
    if value is None or isinstance(value, bool | dict | list):
        return None
    return str(value).strip() or None


def _key(external_id: str) -> str:
    """Return an id as it was before an export or a conversion wrote it as another number (F-9, F-37)."""
    number = _WRITTEN_NUMBER.fullmatch(external_id) if len(external_id) <= _LONGEST_NUMBER else None
    if number is None:
        return external_id
    text = number.group(1)
    if "." in text or "e" in text.lower():
        value = float(text)
        return str(int(value)) if value.is_integer() and abs(value) < 1e18 else external_id
    return text
