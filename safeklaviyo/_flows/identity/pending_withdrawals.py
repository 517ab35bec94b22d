"""Withdrawals by people whom neither the map nor Klaviyo's search knew: kept by their identifiers, and compared later.

A search lags behind, so that a profile which was not found may have been there (H28). Such a withdrawal is a note in
the map, one for each identifier and channel. `recheck_changes` compares it with the profile that has the identifier by
then, and forgets it in the end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from safeklaviyo._flows.notes import notes_under
from safeklaviyo._input.consents import CHANNELS
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.calls import Recall, Remember

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.consent import Channel
    from safeklaviyo.identity import Claim
    from safeklaviyo.stores.base import JournalEntry

_PREFIX: Final = "withdrawn:"


@dataclass(frozen=True, slots=True)
class Pending:
    """A withdrawal of one channel by an identifier.

    Attributes:
        verb: The verb that was called.
        list_id: The list that was left; None for all.
        at: When it was made, in unix seconds.
    """

    identifier: Identifier
    channel: Channel
    verb: str
    list_id: str | None
    at: float


def channels_in(entry: JournalEntry) -> tuple[Channel, ...]:
    """Return the channels that a row of the journal is about."""
    said = (entry.old or "").split(",")
    return tuple(channel for channel in CHANNELS if channel in said)


def note_withdrawal(call: Call, claim: Claim, entry: JournalEntry, at: float) -> Flow[None]:
    """Keep a withdrawal by each identifier that it was made with, beside earlier ones."""
    for identifier in names_of_claim(claim):
        for channel in channels_in(entry):
            made = Pending(identifier, channel, entry.verb, entry.new, at)
            others = yield from pending_withdrawals_of(call, identifier, channel)
            kept = [each for each in others if (each.verb, each.list_id) != (made.verb, made.list_id)]
            yield from _keep(call, identifier, channel, [*kept, made])


def names_of_claim(claim: Claim) -> tuple[Identifier, ...]:
    """Return all identifiers of a claim, the number too."""
    if claim.phone_number is None:
        return claim.identifiers()
    return (*claim.identifiers(), Identifier(Kind.PHONE_NUMBER, claim.phone_number))


def pending_withdrawals_of(call: Call, identifier: Identifier, channel: Channel) -> Flow[list[Pending]]:
    """Return the withdrawals of a channel that were made with an identifier that no profile had."""
    name = _name(identifier, channel)
    value = yield from Recall(call.account, name)
    return [] if value is None else _read(name.removeprefix(_PREFIX), value)


def forget_withdrawal(call: Call, pending: Pending) -> Flow[None]:
    """Forget one withdrawal."""
    others = yield from pending_withdrawals_of(call, pending.identifier, pending.channel)
    yield from _keep(call, pending.identifier, pending.channel, [each for each in others if each != pending])


def pending_withdrawals(call: Call) -> Flow[list[Pending]]:
    """Return all such withdrawals of the account."""
    notes = yield from notes_under(call, _PREFIX)
    return [pending for name, value in notes.items() for pending in _read(name, value)]


def _keep(call: Call, identifier: Identifier, channel: Channel, kept: list[Pending]) -> Flow[None]:
    value = json.dumps([(each.verb, each.list_id, each.at) for each in kept]) if kept else None
    yield from Remember(call.account, _name(identifier, channel), value)


def _read(name: str, value: str) -> list[Pending]:
    channel, kind, text = name.split(":", 2)
    identifier = Identifier(Kind(kind), text)
    said: list[tuple[str, str | None, float]] = json.loads(value)
    return [Pending(identifier, cast("Channel", channel), *each) for each in said]


def _name(identifier: Identifier, channel: Channel) -> str:
    # One note for each channel, so that withdrawals of two channels at once do not write over each other.
    return f"{_PREFIX}{channel}:{identifier.kind.value}:{identifier.value}"
