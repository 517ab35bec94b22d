"""What an intent says: the write that is about to be made under a lease.

Every lease carries its intent from the start. So a call that finds an expired lease can finish that same write, which
makes a late copy of it harmless (H4, H6). Finishing is in `leases`; the writes are in the modules that it imports.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from safeklaviyo._flows.leased.intent_fields import Verb, Written, checked
from safeklaviyo._input.consents import CHANNELS, Agreement
from safeklaviyo.errors import StoreIncompatibleError
from safeklaviyo.identity import Kind

if TYPE_CHECKING:
    from safeklaviyo.consent import Channel
    from safeklaviyo.models import Binding


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class ContactIntent(Written):
    """Bind the pair, creating or completing a profile."""

    verb: ClassVar[Verb] = "contact"
    external_id: str | None = None
    email: str


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class ChangeIntent(Written):
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
class MergeIntent(Written):
    """Let the profile `source_id` become one with `profile_id`, which shows the pair.

    Attributes:
        source_email: The address of the profile that is merged away.
        may_suppress: The merge may turn a consenting customer into a suppressed one.
        accepted_at: When Klaviyo accepted the merge; None before that. Then only its effect is waited for.
    """

    verb: ClassVar[Verb] = "merge"
    external_id: str | None = None
    email: str | None = None
    profile_id: str
    source_id: str
    source_email: str | None = None
    may_suppress: bool = False
    accepted_at: float | None = None


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class EraseIntent(Written):
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
class RepairIntent(Written):
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


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class GiveIntent(Written):
    """Give consent for the profile, named by its id (R18).

    Attributes:
        keys: The key of the customer's binding.
        emails: The customer's former addresses, which another call must not give away until then.
        phone_number: The number given.
        channels: What the customer allows.
        awaited: Channels of earlier requests that Klaviyo has accepted and not shown yet.
        awaited_since: When the first of those was asked for.
        written_at: When the wish was written down, in unix seconds, if that was before the call.
        asked_at: When the call was made.
        accepted_at: When Klaviyo accepted the request; None before that. Then only its effect is waited for.
    """

    verb: ClassVar[Verb] = "subscribe"
    keys: tuple[str, ...] = ()
    external_id: str | None = None
    email: str
    profile_id: str
    emails: tuple[str, ...] = ()
    phone_number: str | None = None
    channels: tuple[Channel, ...]
    awaited: tuple[Channel, ...] = ()
    awaited_since: float | None = None
    list_id: str | None = None
    consented_at: float | None = None
    historical: bool = False
    source: str | None = None
    date_of_birth: str | None = None
    resubscribe: bool = False
    written_at: float | None = None
    asked_at: float
    accepted_at: float | None = None

    @property
    def agreement(self) -> Agreement:
        """How the customer has agreed."""
        return Agreement(self.consented_at, self.historical, self.source, self.date_of_birth, self.resubscribe)

    @property
    def wished_at(self) -> float:
        """When the customer wished it, as far as is known: a withdrawal since is never lifted."""
        return self.asked_at if self.written_at is None else self.written_at

    def beside(self, pending: Intent) -> GiveIntent | None:
        """Return this intent, where it need not wait for one that Klaviyo has accepted and not shown; None if it must.

        A consent goes on beside another consent of the same person, and then waits for both effects.
        """
        if not isinstance(pending, GiveIntent) or pending.accepted_at is None:
            return None
        awaited = tuple(each for each in CHANNELS if each in {*pending.channels, *pending.awaited})
        since = pending.asked_at if pending.awaited_since is None else min(pending.asked_at, pending.awaited_since)
        return replace(self, awaited=awaited, awaited_since=since)


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class WithdrawIntent(Written):
    """Withdraw consent on every living profile of the customer (R19); or suppress, or lift a suppression.

    Attributes:
        job: ``"unsubscribe"``, ``"suppress"`` or ``"unsuppress"``.
        keys: The keys of the customer's binding; of several, where what was given contradicts the map.
        external_ids: The external ids of the customer, or of several.
        emails: Every current and former address, and the one given.
        profile_ids: The profiles that were found for them.
        channels: What is withdrawn.
        given_email: The address that the caller gave: a living profile that has it is reached in any case.
        given_phone_number: Same, for the number.
        alone: Only the profiles of `profile_ids` are reached.
        forced: Klaviyo may not have carried out an earlier consent yet, so what it shows does not spare the request.
        asked_at: When the call was made, in unix seconds.
        accepted_at: When Klaviyo accepted the request; None before that. Then only its effect is waited for.
        asked: How often Klaviyo was asked.
        sent: What Klaviyo has accepted and not shown yet: a channel and an address or number, in one text each.
    """

    verb: ClassVar[Verb] = "withdraw"
    job: str
    keys: tuple[str, ...] = ()
    external_ids: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    profile_ids: tuple[str, ...] = ()
    channels: tuple[Channel, ...]
    given_email: str | None = None
    given_phone_number: str | None = None
    list_id: str | None = None
    alone: bool = False
    forced: bool = False
    asked_at: float
    accepted_at: float | None = None
    asked: int = 0
    sent: tuple[str, ...] = ()

    @property
    def external_id(self) -> str | None:
        """The first external id, to show what this is about."""
        return next(iter(self.external_ids), None)

    @property
    def email(self) -> str | None:
        """Same, for the address."""
        return next(iter(self.emails), None)

    def beside(self, pending: Intent) -> WithdrawIntent | None:
        """Return this intent, where it need not wait for one that Klaviyo has accepted and not shown; None if it must.

        A withdrawal never waits for a consent, and is sent also where it seems done. Two withdrawals become one.
        """
        if isinstance(pending, GiveIntent) and pending.accepted_at is not None and self.job != "unsuppress":
            return replace(self, forced=True)
        is_same = isinstance(pending, WithdrawIntent) and (pending.job, pending.list_id) == (self.job, self.list_id)
        if not (isinstance(pending, WithdrawIntent) and is_same) or pending.accepted_at is None or self.alone:
            return None
        joined = replace(
            self,
            keys=_joined(self.keys, pending.keys),
            external_ids=_joined(self.external_ids, pending.external_ids),
            emails=_joined(self.emails, pending.emails),
            profile_ids=_joined(self.profile_ids, pending.profile_ids),
            channels=tuple(each for each in CHANNELS if each in {*self.channels, *pending.channels}),
            given_email=self.given_email or pending.given_email,
            given_phone_number=self.given_phone_number or pending.given_phone_number,
            forced=self.forced or pending.forced,
        )
        if joined.forced and not pending.forced:
            return joined  # what Klaviyo has accepted may be older than the consent that is to be withdrawn
        # Klaviyo is not asked twice: a copy that is carried out late would end a newer consent, or create a profile on
        # an address that has changed hands.
        return replace(joined, accepted_at=pending.accepted_at, asked=pending.asked, sent=pending.sent)


def _joined(these: tuple[str, ...], those: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*these, *those)))


Changing: TypeAlias = ContactIntent | ChangeIntent | MergeIntent | EraseIntent | RepairIntent
"""What is about to be written about a customer's identifiers."""
Intent: TypeAlias = Changing | GiveIntent | WithdrawIntent
"""What is about to be written under a lease."""

_TOO_NEW: Final = "the identity map holds an intent this version"
_BY_VERB: Final[dict[str, type[Intent]]] = {
    "contact": ContactIntent,
    "change": ChangeIntent,
    "merge": MergeIntent,
    "erase": EraseIntent,
    "restore": RepairIntent,
    "subscribe": GiveIntent,
    "withdraw": WithdrawIntent,
}


def decode(text: str) -> Intent:
    """Read an intent back.

    Raises:
        StoreIncompatibleError: Another version of this library wrote it, or it is damaged.
    """
    try:
        fields: dict[str, Any] = json.loads(text)
        kind = _BY_VERB.get(fields.pop("verb"))
        intent = None if kind is None else kind(**checked(fields))
    except (AttributeError, LookupError, TypeError, ValueError):
        # Not chained: the message may quote the intent, which names a customer (P8).
        raise StoreIncompatibleError(f"{_TOO_NEW} cannot read; upgrade safeklaviyo") from None
    # A verb of a later version: to pass over it would lose that version's write.
    if intent is None:
        raise StoreIncompatibleError(f"{_TOO_NEW} cannot carry out; upgrade safeklaviyo")
    return intent
