"""The caller's own body with other identifiers, for each operation."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

from safeklaviyo.guard._write.edits import Edits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo.guard._parse.asked import Asked, Named
    from safeklaviyo.models import Binding

IDENTIFIERS = ("external_id", "email", "phone_number")
_BROWSERS = ("anonymous_id", "_kx")
_NAMES = (*IDENTIFIERS, "_kx")


def name_events(
    asked: Asked,
    customers: Iterable[tuple[Named, Binding]],
    *,
    alone: bool,
    unique_id: str | None = None,
    gone: Iterable[Named] = (),
) -> tuple[str, tuple[str, ...]]:
    """Name each event's profile by its id and, unless `alone`, by its current pair.

    Dropped are a phone number, which does not travel with an event (R14), and the mark of a mail's link (``_kx``). That
    mark names the person who has opened the mail, who may be another one than the customer. A browser's mark stays: it
    joins the browser's history to the customer.

    Args:
        unique_id: The key for a single event that has none.
        gone: People with rows that are taken out.

    Returns:
        The text, and the places that were changed.
    """
    edits, places = Edits(asked.text), list[str]()
    for named, binding in customers:
        pair = {} if alone else {"external_id": binding.external_id, "email": binding.email}
        put = {name: value for name, value in pair.items() if value is not None}
        drop = [name for name in _NAMES if name not in put]
        places += _name(edits, named, put={"id": binding.profile_id}, attributes=put, drop=drop)
    attributes = None if asked.root is None else asked.root.opened("data")
    attributes = None if attributes is None else attributes.opened("attributes")
    if unique_id is not None and attributes is not None:
        edits.change(attributes, put={"unique_id": unique_id})
        places.append("/data/attributes/unique_id")
    return _without(asked, edits, places, gone)


def name_profiles(
    asked: Asked, customers: Iterable[tuple[Named, Binding]], *, keep: Iterable[str] = (), gone: Iterable[Named] = ()
) -> tuple[str, tuple[str, ...]]:
    """Name each profile by its id, without identifiers.

    Args:
        keep: Attributes that stay although they are identifiers.
        gone: People with rows that are taken out.
    """
    edits, places = Edits(asked.text), list[str]()
    drop = [name for name in (*IDENTIFIERS, *_BROWSERS) if name not in keep]
    for named, binding in customers:
        places += _name(edits, named, put={"id": binding.profile_id}, attributes={}, drop=drop)
    return _without(asked, edits, places, gone)


def new_profile(asked: Asked, named: Named, external_id: str | None, email: str | None) -> bytes:
    """Return the caller's document as a create takes it: with the pair, without a phone number (R14).

    Klaviyo's create takes no id and no ``meta``. Nulls are dropped, because a new profile has nothing to clear.
    """
    edits = Edits(asked.text)
    pair = {"external_id": external_id, "email": email}
    put = {name: value for name, value in pair.items() if value is not None}
    members = {} if named.attributes is None else named.attributes.members
    empty = [name for name, member in members.items() if member.value is None]
    drop = {*IDENTIFIERS, *_BROWSERS, *empty} - put.keys()
    _name(edits, named, put={}, attributes=put, drop=drop, without=("id", "meta"))
    return edits.text().encode()


def has_lists(named: Named) -> bool:
    """Tell whether the request changes lists of values, which a create does not take."""
    return named.node.get("meta") is not None


def _without(asked: Asked, edits: Edits, places: list[str], gone: Iterable[Named]) -> tuple[str, tuple[str, ...]]:
    """Take rows out, and return the text, and the places that were changed."""
    numbers = [asked.people.index(named) for named in gone]
    if numbers:
        edits.take_out(asked.rows, numbers)
        places += [asked.people[number].pointer for number in numbers]
    return edits.text(), tuple(places)


def packed(asked: Asked, text: str) -> bytes:
    """Return a body as it travels: packed if the caller's was."""
    body = text.encode()
    return gzip.compress(body, mtime=0) if asked.packed else body


def _name(
    edits: Edits,
    named: Named,
    *,
    put: dict[str, Any],
    attributes: dict[str, Any],
    drop: Iterable[str],
    without: Iterable[str] = (),
) -> list[str]:
    """Change how one person is named; return the places that were changed."""
    inner = named.attributes
    places: list[str] = []
    # A profile that was named by its id alone has no attributes yet.
    if inner is None:
        put = put | ({"attributes": attributes} if attributes else {})
    else:
        edits.change(inner, put=attributes, drop=frozenset(drop))
        changed = [name for name, value in attributes.items() if inner.get(name) != value]
        changed += [name for name in drop if name in inner.members]
        places += [f"{named.pointer}/attributes/{name}" for name in changed]
    edits.change(named.node, put=put, drop=frozenset(without))
    return [*places, *(f"{named.pointer}/{name}" for name, value in put.items() if named.node.get(name) != value)]
