"""Lists of resources: which rows a filter describes, in which order, a page at a time (Klaviyo's *Pagination*)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import unquote, urlencode

from safeklaviyo.testing.simulator import filters
from safeklaviyo.testing.simulator.refusals import invalid_parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from safeklaviyo.testing.simulator.records import Asked

_CURSOR = "page[cursor]"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """What may be asked of one kind of list.

    Attributes:
        fields: The operators of each field.
        values: How each field is read from a row; a field without one describes no row.
        sorts: The keys of each order; the first is the usual one.
        usual: How many rows a page has.
        largest: How many rows a page may have.
    """

    fields: filters.Fields
    values: Mapping[str, Callable[[T], Any]]
    sorts: Mapping[str, Callable[[T], Any]] = field(default_factory=dict[str, "Callable[[T], Any]"])
    usual: int = 20
    largest: int = 100

    def page(self, asked: Asked, rows: Iterable[T]) -> tuple[list[T], dict[str, str | None]]:
        """Return one page of the rows that the request describes, and its links.

        Raises:
            Refusal: 400 for a malformed query.
        """
        terms = self.terms(asked)
        found = [row for row in rows if all(term.meets(self._read(term.name, row)) for term in terms)]
        return self.cut(asked, found)

    def terms(self, asked: Asked) -> list[filters.Term]:
        """Return what the request's filter says.

        Raises:
            Refusal: 400 for a malformed filter.
        """
        text = asked.query.get("filter")
        return [] if text is None else filters.parse(text, self.fields)

    def cut(self, asked: Asked, found: list[T]) -> tuple[list[T], dict[str, str | None]]:
        """Return one page of the rows, in order, and its links.

        Raises:
            Refusal: 400 for a malformed query.
        """
        sort = asked.query.get("sort", next(iter(self.sorts), ""))
        key = self.sorts.get(sort.removeprefix("-"))
        if key is not None:
            found = sorted(found, key=key, reverse=sort.startswith("-"))
        elif sort:
            raise invalid_parameter("This is not an allowed sort for this resource.", "sort")
        size, start = _size(asked, self.usual, self.largest), _offset(asked)
        links = {
            "self": _link(asked, start or None),
            "next": _link(asked, start + size) if start + size < len(found) else None,
            "prev": _link(asked, max(0, start - size)) if start else None,
        }
        return found[start : start + size], links

    def _read(self, name: str, row: T) -> Any:
        read = self.values.get(name)
        return None if read is None else read(row)


def _size(asked: Asked, usual: int, largest: int) -> int:
    size = asked.query.get("page[size]", str(usual))
    if not size.isascii() or not size.isdigit() or not 1 <= int(size) <= largest:
        raise invalid_parameter(f"Page size must be an integer between 1 and {largest}.", "page[size]")
    return int(size)


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
