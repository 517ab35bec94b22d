"""One change of a customer's identifiers while it is made: what is wanted, and how a profile differs from that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from safeklaviyo import errors
from safeklaviyo._flows.identity.reads import former_kinds
from safeklaviyo._rules.conflicts import drift_error
from safeklaviyo._rules.shown import differences, email_of
from safeklaviyo.identity import Kind
from safeklaviyo.models import CLEAR

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo._flows.leased.intents import ChangeIntent
    from safeklaviyo.models import Binding, Profile
    from safeklaviyo.stores.base import Lease


@dataclass(frozen=True, slots=True)
class Blocked:
    """An identifier that stands on another profile although its owner has left it.

    Attributes:
        profile: That profile. It has to be repaired before the identifier can be given.
        taken: What to raise if it cannot be repaired.
    """

    profile: Profile
    taken: errors.IdentityError


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change has concluded.

    Attributes:
        binding: The customer's binding in the map; None if everything has to be decided again.
        profile: The customer's profile as Klaviyo showed it last; None if it is gone, or the change is not done.
        blocked: What has to be repaired first; then nothing else was done.
        moved: The profile was changed by this call.
        merged_id: The orphan that was merged into it.
        is_superseded: Another call made the change, and a later change has replaced it; `binding` shows the later one.
        is_pending: Klaviyo has not merged the orphan yet. The lease keeps the intent, so that a later call goes on.
    """

    binding: Binding | None = None
    profile: Profile | None = None
    blocked: Blocked | None = None
    moved: bool = False
    merged_id: str | None = None
    is_superseded: bool = False
    is_pending: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One change, while it is made.

    Attributes:
        wanted: The binding as it is to be.
        main: The PATCH is the operation's main write.
    """

    lease: Lease
    intent: ChangeIntent
    binding: Binding
    wanted: Binding
    main: bool

    @property
    def claimed(self) -> Binding:
        """What no other profile may have: the address, and an external id or phone number that is new."""
        return replace(self.wanted, external_id=self.intent.new_external_id, phone_number=self.intent.new_phone_number)


def difference(call: Call, task: Task, profile: Profile) -> Flow[dict[str, Any]]:
    """Return what has to be changed on the profile.

    Raises:
        ExternalIdMismatchError: A guest's profile has an external id by now, which is not to be overwritten.
        IdentityDriftError: The profile is another customer's, or shows an address that the map does not know.
    """
    binding, wanted = task.binding, task.wanted
    # A former identifier of this customer may be overwritten: a late event has put it back (H1).
    former = yield from former_kinds(call, binding, profile)
    if Kind.EXTERNAL_ID not in former:
        _check_external_id(task, profile)
    shown = email_of(profile)
    is_theirs = shown in (None, wanted.email, binding.email) or Kind.EMAIL in former
    if not is_theirs and call.policy.drift != "adopt":
        raise drift_error(binding, profile, "the customer's profile shows another email in Klaviyo")
    return missing_on(task, profile)


def _check_external_id(task: Task, profile: Profile) -> None:
    """Refuse to overwrite an external id that the map does not know as this customer's."""
    binding, wanted, intent = task.binding, task.wanted, task.intent
    if profile.external_id in (None, binding.external_id, wanted.external_id):
        return
    if binding.external_id is not None:
        raise drift_error(binding, profile, "the customer's profile shows another external_id in Klaviyo")
    # A guest's profile may gain an id while its email changes: the map then learns the id. Only a change of the id
    # itself would overwrite it.
    if intent.new_external_id is not None or Kind.EXTERNAL_ID.value in intent.clears:
        raise errors.ExternalIdMismatchError(
            "the profile has got an external_id in Klaviyo; name the customer by that",
            current_external_id=profile.external_id,
            external_id=wanted.external_id,
            email=binding.email,
        )


def missing_on(task: Task, profile: Profile) -> dict[str, Any]:
    """Return what a profile still lacks of what is wanted, as a PATCH takes it; empty where it shows all."""
    intent = task.intent
    kinds = [Kind.EMAIL]
    # A guest has no external id, and most customers no phone number here: what the map lacks is not to be taken away
    # from the profile, unless the intent says so.
    if task.wanted.external_id is not None or Kind.EXTERNAL_ID.value in intent.clears:
        kinds.append(Kind.EXTERNAL_ID)
    if intent.new_phone_number is not None or Kind.PHONE_NUMBER.value in intent.clears:
        kinds.append(Kind.PHONE_NUMBER)
    return as_patch(differences(task.wanted, profile, kinds))


def as_patch(values: dict[Kind, str | None]) -> dict[str, Any]:
    """Return identifiers as a PATCH takes them: `CLEAR` for none."""
    return {kind.value: CLEAR if value is None else value for kind, value in values.items()}
