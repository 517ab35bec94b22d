"""What operations return. Frozen; personal data is masked in every ``repr``.

What Klaviyo sends is read by a pydantic model that keeps fields it does not know (F-23). What this library returns
about its own work is a dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from safeklaviyo.identity import Identity, mask
from safeklaviyo.notices import Notice

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clear(Enum):
    """The type of `CLEAR`."""

    CLEAR = "CLEAR"

    def __repr__(self) -> str:
        return "CLEAR"


CLEAR: Final = Clear.CLEAR
"""Clears a person's property. None is refused there: a missing first name must never erase data."""

# Masked wherever a result is shown: results end up in logs and in tracebacks (P8).
_PERSONAL = frozenset({
    "external_id", "email", "phone_number", "old_email", "new_email", "old_external_id", "new_external_id",
    "old_phone_number", "new_phone_number",
})  # fmt: skip


class _Masked:
    """Writes a dataclass's ``repr`` with its personal fields masked."""

    __slots__ = ()

    def __repr__(self) -> str:
        parts: list[str] = []
        for each in fields(self):  # type: ignore[arg-type]  # every user of this mixin is a dataclass
            value = getattr(self, each.name)
            # Most fields are empty most of the time; leaving them out keeps a line short enough to read.
            if not each.repr or value is None or value == ():
                continue
            parts.append(f"{each.name}={mask(value) if each.name in _PERSONAL else repr(value)}")
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass(frozen=True, slots=True, repr=False)
class Binding(_Masked):
    """What the identity map knows about one customer.

    Attributes:
        external_id: The shop's id; None for a guest.
        email: The current address.
        profile_id: Klaviyo's id, once it is known.
        phone_number: The number last attached.
        verified_at: When Klaviyo last confirmed the pair, in unix seconds; None if never.
        version: Rises with each change of the binding.
        key: The store's own name of the binding; opaque, stable for the binding's life.
    """

    external_id: str | None
    email: str | None
    profile_id: str | None = None
    phone_number: str | None = None
    verified_at: float | None = None
    version: int = 0  # compared by writes that hold no lease
    key: str = field(default="", repr=False)  # stays when every identifier changes

    @property
    def identity(self) -> Identity:
        """The pair by which this customer is named."""
        return Identity(self.external_id, self.email)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules say about a claim.

    Attributes:
        action: One of
            ``"send"``: name the pair at once;
            ``"contact"``: find or create the profile in Klaviyo first;
            ``"change"``: change the customer's email first, as ``Policy(email_mismatch="change")`` asks (R6);
            ``"lookup"``: read what Klaviyo knows, then decide again;
            ``"wait"``: another call holds a lease on one of the identifiers;
            ``"refuse"``: raise an error.
        identity: The pair that would be sent, where it is known.
        rule: The rule that decided.
        reason: One sentence, without personal data.
        rewritten: The pair differs from what was asked, because an identifier given was a former one.
        binding: The binding that decided, where there is one.
        orphan_profile_id: A profile in Klaviyo with the email alone, where the id is another profile's (R6).
    """

    action: Literal["send", "contact", "change", "lookup", "wait", "refuse"]
    identity: Identity
    rule: str
    reason: str
    rewritten: bool = False
    binding: Binding | None = field(default=None, repr=False)
    orphan_profile_id: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class IdentifyResult:
    """What `identify` did.

    Attributes:
        profile_id: Klaviyo's id; None where the legacy answer cannot say.
        created: Whether this call created the profile; None where the legacy answer cannot say.
        identity: The pair the profile is known by.
        rule: The rule that decided.
        warnings: What went differently.
    """

    profile_id: str | None
    created: bool | None
    identity: Identity
    rule: str
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class TrackResult:
    """What `track` sent.

    Attributes:
        unique_id: The event's idempotency key, given or made.
        time: The event's time, in UTC, to the second.
        profile_id: The profile the event names; None in the legacy dialect.
        identity: The pair the profile is known by.
        rule: The rule that decided.
        warnings: What went differently.
    """

    unique_id: str
    time: datetime
    profile_id: str | None
    identity: Identity
    rule: str
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class EmailChange(_Masked):
    """What `change_email` did.

    Attributes:
        status: ``"changed"``, ``"unchanged"`` or ``"merge_requested"``.
        visible: Klaviyo's search by the new address returned the profile before the call ended.
        merged_profile_id: The profile that was merged into this one, if one was.
    """

    status: Literal["changed", "unchanged", "merge_requested"]
    profile_id: str | None
    external_id: str | None
    old_email: str | None
    new_email: str
    visible: bool
    merged_profile_id: str | None = None
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class ExternalIdChange(_Masked):
    """What `change_external_id` did.

    Attributes:
        status: ``"changed"`` or ``"unchanged"``.
        old_external_id: The id until now; None for a guest.
        new_external_id: The id from now on; None where it was cleared.
    """

    status: Literal["changed", "unchanged"]
    profile_id: str | None
    old_external_id: str | None
    new_external_id: str | None
    email: str | None
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class PhoneChange(_Masked):
    """What `change_phone_number` did.

    Attributes:
        status: ``"changed"`` or ``"unchanged"``.
        old_phone_number: The number that Klaviyo showed before; None if there was none.
        new_phone_number: The number from now on; None where it was cleared.
    """

    status: Literal["changed", "unchanged"]
    profile_id: str | None
    old_phone_number: str | None
    new_phone_number: str | None
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolution:
    """Which customer is meant, as far as the map and Klaviyo know.

    Attributes:
        identity: The pair by which the customer is known.
        profile_id: The customer's profile; None if neither the map nor Klaviyo knows one.
        rule: The rule that decided.
    """

    identity: Identity
    profile_id: str | None
    rule: str


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What merging one profile into another would do. Nothing has been done.

    Attributes:
        moves: What the destination would gain: names of fields, ``properties.…`` and ``events``.
        lost: What the source would lose, because the destination's value wins.
        suppresses: The destination can be written to now, and could not be afterwards; None if Klaviyo does not say.
        obstacles: What forbids the merge.
    """

    source_id: str
    into_id: str
    moves: tuple[str, ...]
    lost: tuple[str, ...]
    suppresses: bool | None
    obstacles: tuple[str, ...]

    @property
    def is_allowed(self) -> bool:
        """Whether `merge` would do it without ``allow_suppressed``."""
        return not self.obstacles and self.suppresses is False


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """What `merge` did.

    Attributes:
        status: ``"completed"``: the source is gone; ``"requested"``: Klaviyo has not done it yet.
    """

    status: Literal["completed", "requested"]
    source_id: str
    into_id: str
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Erasure:
    """What `erase` did.

    Attributes:
        profile_id: The profile that Klaviyo was asked to delete; None if Klaviyo knows none.
        was_known: The identity map knew the customer.
        ghost_profile_ids: Profiles on former identifiers of the customer, which Klaviyo was asked to delete too.
        left_profile_ids: Other profiles with an identifier that is or was the customer's. They may be another person's.
    """

    profile_id: str | None
    was_known: bool
    ghost_profile_ids: tuple[str, ...] = ()
    left_profile_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Recovery(_Masked):
    """What `recover` did about one interrupted write.

    Attributes:
        verb: What was interrupted: ``"contact"``, ``"change"``, ``"merge"``, ``"erase"``, ``"restore"``,
            ``"subscribe"`` or ``"withdraw"``.
        status: ``"completed"``; ``"failed"``: it cannot be done, and its intent is gone; ``"postponed"``: it stays.
        error: Why it failed or was postponed.
    """

    verb: str
    status: Literal["completed", "failed", "postponed"]
    external_id: str | None
    email: str | None
    error: Exception | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ChangeReview(_Masked):
    """What `recheck_changes` found about one customer.

    Attributes:
        finding: ``"put_back"``: the profile shows a former email; ``"ghost"``: another profile shows one;
            ``"drift"``: the profile shows an identifier unknown to the map; ``"missing"``: the profile is gone;
            ``"withdrawn_again"``: the customer could still be reached after a withdrawal, which was carried out again;
            ``"subscribed_since"``: a form or a newer call has subscribed the profile after it, which was left;
            ``"reborn"``: an erased customer's address had a profile again, which was deleted.
        email: The customer's email in the map.
        old_email: The former email concerned, or the one shown.
        ghost_profile_id: The other profile: on a former email, or on the current one so that a repair is not possible.
        repaired: This call has written the map's identifiers back to the profile, or carried out what is found.
    """

    finding: Literal["put_back", "ghost", "drift", "missing", "withdrawn_again", "subscribed_since", "reborn"]
    profile_id: str | None
    external_id: str | None
    email: str | None
    old_email: str | None = None
    ghost_profile_id: str | None = None
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of the rows given to `bindings.add`, or of the profiles that `bindings.learn` has read.

    Attributes:
        added: How many rows made a binding, or filled in what a binding lacked.
        unchanged: How many rows the map knew already.
        refused: The number of each row that was refused (from 0), and why, without personal data.
        warnings: The number of each row of which something was left out, or that was passed over (from 0), and why.
        verified: How many rows Klaviyo was seen to agree with, as ``verify=True`` asks.
        id_only: How many profiles have an external id and no email, so that no call can name them (P1).
        without_email: How many profiles have neither.
    """

    added: int
    unchanged: int
    refused: tuple[tuple[int, str], ...] = ()
    warnings: tuple[tuple[int, str], ...] = ()
    verified: int = 0
    id_only: int = 0
    without_email: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call about many has come.

    Attributes:
        done: How many rows, or profiles, are done.
        total: How many there are; None if that is not known.
        refused: How many of those that are done were refused.
        per_second: How many are done in a second.
        remaining: Seconds until all are done, at this pace; None if `total` is not known.
    """

    done: int
    total: int | None
    refused: int
    per_second: float
    remaining: float | None


class Profile(BaseModel):
    """Klaviyo's record of a person. Fields that Klaviyo adds later are kept in ``model_extra``.

    Attributes:
        warnings: What `profiles.update` did otherwise than it was asked. No field of Klaviyo's.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="allow")

    id: str
    external_id: str | None = None
    email: str | None = None
    phone_number: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    organization: str | None = None
    title: str | None = None
    image: str | None = None
    locale: str | None = None
    created: datetime | None = None
    updated: datetime | None = None
    last_event_date: datetime | None = None
    location: dict[str, Any] = Field(default_factory=dict)
    properties: dict[str, Any] = Field(default_factory=dict)
    subscriptions: dict[str, Any] | None = None
    warnings: tuple[Notice, ...] = Field(default=(), exclude=True)  # never part of what Klaviyo holds

    # What `repr`, `str` and the printers of rich and devtools show.
    def __repr_args__(self) -> Iterator[tuple[str, str | None]]:
        yield "id", self.id
        for name in ("external_id", "email"):
            value: str | None = getattr(self, name)
            yield name, None if value is None else mask(value)
