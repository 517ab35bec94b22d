"""Reading the notes of a map that begin with one word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo.stores.calls import ListNotes

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call


def notes_under(call: Call, prefix: str) -> Flow[dict[str, str]]:
    """Return the notes of the account that begin with a word, by the rest of their names."""
    found: dict[str, str] = {}
    after: str | None = None
    while True:
        page = yield from ListNotes(call.account, after=after)
        found.update((name.removeprefix(prefix), value) for name, value in page.notes if name.startswith(prefix))
        if page.next is None:
            return found
        after = page.next
