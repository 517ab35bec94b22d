"""One change of a customer's identifiers while it is made: what is wanted, and how a profile differs from that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from safeklaviyo import errors
from safeklaviyo._flows.identity.reads import former_kinds
from safeklaviyo._rules.conflicts import drift_error
from safeklaviyo._rules.shown import email_of, phone_of
from safeklaviyo.identity import Kind
from safeklaviyo.models import CLEAR

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo._flows.leased.intents import ChangeIntent
    from safeklaviyo.models import Binding, Profile
    from safeklaviyo.stores.base import Lease


@dataclass(slots=True)
class Changed:
    """What a change has come to.

    Attributes:
        binding: What stands in the map now; None if everything has to be decided again.
        put_back: A profile that shows the new address although its owner has left it: to be restored first.
        taken: What to raise if it cannot be.
        profile_id: The customer's profile.
        moved: The profile was changed by this call.
        merged_id: The orphan that was merged into it.
        is_superseded: Another call made the change, and a later change has replaced it; `binding` shows the later one.
        is_pending: Klaviyo has not merged the orphan yet; the lease keeps the intent until somebody can go on.
    """

    binding: Binding | None = None
    put_back: Profile | None = None
    taken: errors.IdentityError | None = None
    profile_id: str | None = None
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
    changed: Changed
    main: bool

    @property
    def claimed(self) -> Binding:
        """What nobody else may have: the address, and an external id or phone number that is new."""
        return replace(self.wanted, external_id=self.intent.new_external_id, phone_number=self.intent.new_phone_number)


def difference(call: Call, task: Task, profile: Profile) -> Flow[dict[str, Any]]:
    """Return what has to be changed on the profile.

    Raises:
        ExternalIdMismatchError: A guest's profile has an external id by now, which is not to be overwritten.
        IdentityDriftError: The profile is somebody else's, or shows an address nobody here knows.
    """
    binding, wanted = task.binding, task.wanted
    former = yield from former_kinds(call, binding, profile)
    if Kind.EXTERNAL_ID not in former:
        _check_external_id(task, profile)
    shown = email_of(profile)
    is_known = shown in (None, wanted.email, binding.email) or Kind.EMAIL in former
    if not is_known and call.policy.drift != "adopt":
        raise drift_error(binding, profile, "the customer's profile shows another email in Klaviyo")
    return _missing(task, profile)


def _check_external_id(task: Task, profile: Profile) -> None:
    """Refuse to write over an external id that nobody here knows."""
    binding, wanted, intent = task.binding, task.wanted, task.intent
    if profile.external_id in (None, binding.external_id, wanted.external_id):
        return
    if binding.external_id is not None:
        raise drift_error(binding, profile, "the customer's profile shows another external_id in Klaviyo")
    if intent.new_external_id is not None or Kind.EXTERNAL_ID.value in intent.clears:
        raise errors.ExternalIdMismatchError(
            "the profile has got an external_id in Klaviyo",
            current_external_id=profile.external_id,
            external_id=wanted.external_id,
            email=binding.email,
        )


def agrees(task: Task, profile: Profile) -> bool:
    """Tell whether a profile shows all that is wanted."""
    return not _missing(task, profile)


def _missing(task: Task, profile: Profile) -> dict[str, Any]:
    wanted, clears = task.wanted, task.intent.clears
    fields: dict[str, Any] = {"email": wanted.email}
    if wanted.external_id is not None or Kind.EXTERNAL_ID.value in clears:
        fields["external_id"] = wanted.external_id
    if task.intent.new_phone_number is not None or Kind.PHONE_NUMBER.value in clears:
        fields["phone_number"] = wanted.phone_number
    shown = {
        "email": email_of(profile),
        "external_id": profile.external_id,
        "phone_number": phone_of(profile),
    }
    return {name: CLEAR if value is None else value for name, value in fields.items() if value != shown[name]}
