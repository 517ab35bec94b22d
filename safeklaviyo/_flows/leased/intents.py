"""What an intent says: the write that is about to be made under a lease.

Every lease carries its intent from the start. So a call that finds an expired lease can finish that same write, which
makes a late copy of it harmless (H4, H6). Finishing is in `leases`; the writes are in the modules that it imports.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, cast

from safeklaviyo.errors import StoreIncompatibleError
from safeklaviyo.identity import Identifier, Kind

if TYPE_CHECKING:
    from safeklaviyo.models import Binding

# The map keeps these words, and `Recovery.verb` shows them. Another word would make the intents of running processes
# unreadable.
Verb: TypeAlias = Literal["contact", "change", "merge", "erase", "restore"]

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
}
_LISTED: Final = frozenset({"clears", "ghost_ids", "ghost_external_ids", "ghost_emails"})
_CLEARABLE: Final = (Kind.EXTERNAL_ID.value, Kind.PHONE_NUMBER.value)


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class _Written:
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


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class ContactIntent(_Written):
    """Bind the pair, creating or completing a profile."""

    verb: ClassVar[Verb] = "contact"
    external_id: str | None = None
    email: str


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class ChangeIntent(_Written):
    """Bring the customer with that pair and profile to the new identifiers.

    Attributes:
        profile_id: None if the map does not know the customer's profile yet.
        clears: The kinds of identifier to take away.
        merges: An orphan with the new email is merged into the customer's profile.
        source_id: That orphan, once its merge is asked for.
        source_email: Its address.
        asked: How often the merge has been asked for.
    """

    verb: ClassVar[Verb] = "change"
    external_id: str | None = None
    email: str | None = None
    profile_id: str | None = None
    new_external_id: str | None = None
    new_email: str | None = None
    new_phone_number: str | None = None
    clears: tuple[str, ...] = ()
    merges: bool = False
    source_id: str | None = None
    source_email: str | None = None
    asked: int = 0

    def applied_to(self, binding: Binding) -> Binding:
        """Return the binding as it is to be after the change."""
        wanted = replace(
            binding,
            external_id=self.new_external_id or binding.external_id,
            email=self.new_email or binding.email,
            phone_number=self.new_phone_number or binding.phone_number,
        )
        if Kind.EXTERNAL_ID.value in self.clears:
            wanted = replace(wanted, external_id=None)
        return replace(wanted, phone_number=None) if Kind.PHONE_NUMBER.value in self.clears else wanted


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class MergeIntent(_Written):
    """Let the profile `source_id` become one with `profile_id`, which shows the pair.

    Attributes:
        source_email: The address of the profile that is merged away.
        may_suppress: The merge may turn a consenting customer into a suppressed one.
    """

    verb: ClassVar[Verb] = "merge"
    external_id: str | None = None
    email: str | None = None
    profile_id: str
    source_id: str
    source_email: str | None = None
    may_suppress: bool = False


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class EraseIntent(_Written):
    """Delete the profile, if there is one, and forget the customer.

    Attributes:
        new_external_id: The external id that the profile shows, which is to be forgotten too.
        new_email: Same, for the email.
        ghost_ids: Profiles on former identifiers of the customer, which are still to be deleted.
        ghost_external_ids: What those profiles show.
        ghost_emails: Same.
    """

    verb: ClassVar[Verb] = "erase"
    external_id: str | None = None
    email: str | None = None
    profile_id: str | None = None
    new_external_id: str | None = None
    new_email: str | None = None
    ghost_ids: tuple[str, ...] = ()
    ghost_external_ids: tuple[str, ...] = ()
    ghost_emails: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class RepairIntent(_Written):
    """Bring the profile back to what the map says, where it shows a former identifier of its customer, or a late one.

    Attributes:
        new_external_id: What may have been written too late.
        new_email: Same.
        new_phone_number: Same.
        clears: The kinds of identifier that may have been taken away too late.
    """

    verb: ClassVar[Verb] = "restore"
    external_id: str | None = None
    email: str | None = None
    profile_id: str
    new_external_id: str | None = None
    new_email: str | None = None
    new_phone_number: str | None = None
    clears: tuple[str, ...] = ()


Intent: TypeAlias = ContactIntent | ChangeIntent | MergeIntent | EraseIntent | RepairIntent
"""What is about to be written under a lease."""

_BY_VERB: Final[dict[str, type[Intent]]] = {
    "contact": ContactIntent,
    "change": ChangeIntent,
    "merge": MergeIntent,
    "erase": EraseIntent,
    "restore": RepairIntent,
}


def decode(text: str) -> Intent:
    """Read an intent back.

    Raises:
        StoreIncompatibleError: Another version of this library wrote it, or it is damaged.
    """
    try:
        fields: dict[str, Any] = json.loads(text)
        kind = _BY_VERB.get(fields.pop("verb"))
        intent = None if kind is None else kind(**_checked(fields))
    except (AttributeError, LookupError, TypeError, ValueError) as exc:
        raise StoreIncompatibleError("the identity map holds an intent this version cannot read") from exc
    # A verb of a later version: to pass over it would lose that version's write.
    if intent is None:
        raise StoreIncompatibleError("the identity map holds an intent this version cannot carry out")
    return intent


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an intent as its class takes them.

    Raises:
        ValueError: One is of the wrong type, or empty, or none names the customer of the intent.
    """
    # Without a name the intent would be carried out on a customer called "None".
    if fields.keys().isdisjoint({"external_id", "email", "profile_id"}):
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
            fit = [each in _CLEARABLE if name == "clears" else _is_text(each) for each in listed]
            return fit != [] and all(fit)
        case "merges" | "may_suppress":
            return value is True
        case "asked":
            return type(value) is int and value > 0
        case _:
            return _is_text(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""
