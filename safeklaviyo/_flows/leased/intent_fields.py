"""What the fields of an intent hold, how the map keeps them, and which of them name what has to be leased."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final, Literal, TypeAlias, cast

from safeklaviyo._input.consents import CHANNELS
from safeklaviyo.identity import Identifier, Kind

# The map keeps these words, and `Recovery.verb` shows them. Another word would make the intents of running processes
# unreadable.
Verb: TypeAlias = Literal["contact", "change", "merge", "erase", "restore", "subscribe", "withdraw"]

# What has to be leased, by the name of the field that holds it.
_KINDS: Final = {
    "external_id": Kind.EXTERNAL_ID,
    "new_external_id": Kind.EXTERNAL_ID,
    "email": Kind.EMAIL,
    "new_email": Kind.EMAIL,
    "source_email": Kind.EMAIL,
    "profile_id": Kind.PROFILE_ID,
    "source_id": Kind.PROFILE_ID,
    "ghost_external_ids": Kind.EXTERNAL_ID,
    "ghost_emails": Kind.EMAIL,
    "ghost_ids": Kind.PROFILE_ID,
    "external_ids": Kind.EXTERNAL_ID,
    "emails": Kind.EMAIL,
    "profile_ids": Kind.PROFILE_ID,
}
_LISTED: Final = frozenset({
    "clears", "ghost_ids", "ghost_external_ids", "ghost_emails", "external_ids", "emails", "profile_ids", "keys",
    "channels", "awaited", "sent",
})  # fmt: skip
_NAMING: Final = frozenset({"external_id", "email", "profile_id", "emails", "profile_ids"})
_TRUE: Final = frozenset({"merges", "may_suppress", "historical", "resubscribe", "forced", "alone"})
_JOBS: Final = frozenset({"unsubscribe", "suppress", "unsuppress"})
_MOMENTS: Final = frozenset({"consented_at", "written_at", "asked_at", "awaited_since", "accepted_at"})
_KNOWN: Final = {
    "clears": (Kind.EXTERNAL_ID.value, Kind.PHONE_NUMBER.value),
    "channels": CHANNELS,
    "awaited": CHANNELS,
}
"""What the texts of a list may be, where not every text is fit."""


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class Written:
    """What every intent can do.

    The map keeps an intent under the names of its fields, in their order, and leaves out what is empty.
    """

    verb: ClassVar[Verb]

    def encode(self) -> str:
        """Return the intent as the store keeps it."""
        fields = {name: value for name, value in asdict(self).items() if value}
        return json.dumps({"verb": self.verb} | fields)

    def identifiers(self) -> frozenset[Identifier]:
        """Return what has to be leased to carry it out."""
        named: set[Identifier] = set()
        fields = asdict(self)
        for name, kind in _KINDS.items():
            held = fields.get(name)
            values = cast("tuple[str | None, ...]", held if isinstance(held, tuple) else (held,))
            named.update(Identifier(kind, value) for value in values if value is not None)
        return frozenset(named)


def checked(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an intent as its class takes them.

    Raises:
        ValueError: One is of the wrong type, or empty, or none names the customer of the intent.
    """
    # Without a name the intent would be carried out on a customer called "None".
    if fields.keys().isdisjoint(_NAMING):
        raise ValueError("it names no customer")
    for name, value in fields.items():
        if not _is_fit(name, value):
            raise ValueError("a field has another type")
    # JSON has no tuples.
    return {name: tuple(value) if name in _LISTED else value for name, value in fields.items()}


def _is_fit(name: str, value: object) -> bool:
    """Tell whether a field, of which an empty one is never written, holds what it may hold."""
    match name:
        case _ if name in _LISTED:
            listed = cast("list[object]", value if isinstance(value, list) else [])
            known = _KNOWN.get(name)
            fit = [_is_text(each) if known is None else each in known for each in listed]
            return fit != [] and all(fit)
        case _ if name in _TRUE:
            return value is True
        case _ if name in _MOMENTS:
            return type(value) in {int, float}
        case "asked":
            return type(value) is int and value > 0
        case "job":
            return value in _JOBS
        case _:
            return _is_text(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""
