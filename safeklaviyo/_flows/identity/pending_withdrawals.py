"""Withdrawals by people whom neither the map nor Klaviyo's search knew: kept by their identifiers, and compared later.

A search lags behind, so that a profile which was not found may have been there (H28). Such a withdrawal is a note in
the map, one for each identifier. `recheck_changes` compares it with whoever has the identifier by then, and forgets it
in the end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo._flows.notes import notes_under
from safeklaviyo._input.consents import CHANNELS
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.base import JournalEntry
from safeklaviyo.stores.calls import Recall, Remember

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.consent import Channel
    from safeklaviyo.identity import Claim

_PREFIX: Final = "withdrawn:"


@dataclass(frozen=True, slots=True)
class Pending:
    """A withdrawal by an identifier.

    Attributes:
        at: When it was made, in unix seconds.
    """

    identifier: Identifier
    at: float
    entry: JournalEntry

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What was withdrawn."""
        return channels_in(self.entry)


def channels_in(entry: JournalEntry) -> tuple[Channel, ...]:
    """Return the channels that a row of the journal is about."""
    said = (entry.old or "").split(",")
    return tuple(channel for channel in CHANNELS if channel in said)


def note_withdrawal(call: Call, claim: Claim, entry: JournalEntry, at: float) -> Flow[None]:
    """Keep a withdrawal by each identifier that it was made with."""
    value = json.dumps({"verb": entry.verb, "old": entry.old, "new": entry.new, "at": at})
    for identifier in names_of_claim(claim):
        yield from Remember(call.account, _name(identifier), value)


def names_of_claim(claim: Claim) -> tuple[Identifier, ...]:
    """Return all identifiers of a claim, the number too."""
    if claim.phone_number is None:
        return claim.identifiers()
    return (*claim.identifiers(), Identifier(Kind.PHONE_NUMBER, claim.phone_number))


def pending_withdrawal(call: Call, identifier: Identifier) -> Flow[Pending | None]:
    """Return the withdrawal that was made with an identifier before anybody was known by it."""
    name = _name(identifier)
    value = yield from Recall(call.account, name)
    return None if value is None else _read(name.removeprefix(_PREFIX), value)


def forget_withdrawal(call: Call, identifier: Identifier) -> Flow[None]:
    """Forget such a withdrawal."""
    yield from Remember(call.account, _name(identifier), None)


def pending_withdrawals(call: Call) -> Flow[list[Pending]]:
    """Return all such withdrawals of the account."""
    notes = yield from notes_under(call, _PREFIX)
    return [_read(name, value) for name, value in notes.items()]


def _read(name: str, value: str) -> Pending:
    kind, _, text = name.partition(":")
    fields: dict[str, Any] = json.loads(value)
    entry = JournalEntry(fields["verb"], fields["old"], fields["new"])
    return Pending(Identifier(Kind(kind), text), fields["at"], entry)


def _name(identifier: Identifier) -> str:
    return f"{_PREFIX}{identifier.kind.value}:{identifier.value}"
