"""What Klaviyo's own answers permit: which profile may be bound, changed or created for a customer.

A search is a pointer; only a profile that was read by its id is evidence (H7). These are pure functions over such
profiles. They carry the second half of the rules: first contact (R4, R9, R12), answers that contradict the map (R15),
and conflicts (R17). Read next: `_flows.leased.first_contact`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from safeklaviyo import errors
from safeklaviyo._rules.claims import decide_other_email
from safeklaviyo._rules.conflicts import ambiguity_error
from safeklaviyo._rules.shown import differences, email_of, has_email
from safeklaviyo.identity import Identity, Kind
from safeklaviyo.models import Binding, Decision, Profile

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class ContactStep:
    """What first contact has to do to give a customer a profile.

    Attributes:
        kind: One of
            ``"bind"``: the profile is the customer's as it stands;
            ``"identify"``: the profile has the email and lacks the external id;
            ``"address"``: the profile has the external id and lacks the email;
            ``"create"``: there is no profile;
            ``"mismatch"``: the profile has the external id and another email, so nothing is written (R6).
        profile: The profile concerned; None for ``"create"``.
        orphan: Beside a ``"mismatch"``, a profile that has the email and no external id, if there is one.
    """

    kind: Literal["bind", "identify", "address", "create", "mismatch"]
    profile: Profile | None = None
    orphan: Profile | None = None


def contact_step(external_id: str | None, email: str, profiles: Iterable[Profile]) -> ContactStep:
    """Decide which profile belongs to a customer who is not bound yet (R4, R12, R17).

    Args:
        profiles: The profiles that the searches found, each read by its id.

    Raises:
        ExternalIdMismatchError: The email is on another customer's profile (R7).
        AmbiguousIdentityError: Several profiles answer.
    """
    read = tuple(profiles)
    addressed = [profile for profile in read if has_email(profile, email)]
    # R12: for an email alone, the one profile with that email is the customer's, with or without an external id.
    if external_id is None:
        if len(addressed) > 1:
            raise ambiguity_error("several profiles have this email", None, email, addressed)
        return ContactStep("bind", addressed[0]) if addressed else ContactStep("create")
    identified = [profile for profile in read if profile.external_id == external_id]
    # A profile that has both identifiers is the customer's, even if other profiles have one of them.
    both = [profile for profile in addressed if profile.external_id == external_id]
    if len(both) == 1:
        return ContactStep("bind", both[0])
    # To take the first of several would be a guess (F-5).
    if len(addressed) > 1 or len(identified) > 1:
        raise ambiguity_error(
            "several profiles answer to these identifiers", external_id, email, [*addressed, *identified]
        )
    return _step_apart(external_id, email, *addressed[:1], identified=identified)


def _step_apart(
    external_id: str, email: str, addressed: Profile | None = None, *, identified: list[Profile]
) -> ContactStep:
    """Decide where no profile has both identifiers and at most one has each."""
    # These two come first: a profile that shows another value is not to be overwritten (P3, F-4).
    if addressed is not None and addressed.external_id is not None:
        raise errors.ExternalIdMismatchError(
            "the email belongs to a profile with another external_id",
            current_external_id=addressed.external_id,
            external_id=external_id,
            email=email,
            rule="R7",
        )
    if identified and identified[0].email is not None:
        return ContactStep("mismatch", identified[0], orphan=addressed)
    # Two halves of one customer. Only a merge can join them, and a merge cannot be undone: the caller decides.
    if identified and addressed is not None:
        raise ambiguity_error(
            "one profile has the external_id and another the email; they have to be merged first",
            external_id,
            email,
            [*identified, addressed],
        )
    if identified:
        return ContactStep("address", identified[0])
    return ContactStep("create") if addressed is None else ContactStep("identify", addressed)


def decide_mismatch(asked: Identity, profile: Profile, *, may_change: bool, orphan: Profile | None = None) -> Decision:
    """Decide about an external id that has another email in Klaviyo than the one given (R6).

    Args:
        may_change: The operation changes the email first, where the policy says so. One that only reads does not.
        orphan: A profile with the email given and without an external id.
    """
    shown = Binding(profile.external_id, email_of(profile), profile.id)
    reason = "the external_id belongs to a profile with another email; change_email is the verb that changes it"
    decision = decide_other_email(asked, shown, reason, may_change=may_change)
    return decision if orphan is None else replace(decision, orphan_profile_id=orphan.id)


def owner_of_external_id(external_id: str, profiles: Iterable[Profile]) -> Profile | None:
    """Return the one profile with this external id and an email (R9); None where there is none.

    Raises:
        AmbiguousIdentityError: There are several.
    """
    # Klaviyo's search may lag, so what was found is compared with what was asked for.
    owners = [profile for profile in profiles if profile.external_id == external_id]
    if len(owners) > 1:
        raise ambiguity_error("several profiles have this external_id", external_id, None, owners)
    # A profile without an email cannot be named afterwards: an id alone, sent to Klaviyo, makes a duplicate (P1).
    if not owners or email_of(owners[0]) is None:
        return None
    return owners[0]


Agreement = Literal["same", "gained_external_id", "moved", "contradicts"]


def compare(binding: Binding, profile: Profile) -> Agreement:
    """Compare a profile that Klaviyo shows with the map (R15).

    Returns:
        One of
        ``"same"``: pair and profile id agree;
        ``"gained_external_id"``: the map knows a guest, and the profile has an external id;
        ``"moved"``: the same pair is on another profile id, as after a merge;
        ``"contradicts"``: the profile shows another email or another external id.
    """
    # The email first: a profile with another email says nothing about a guest's external id.
    differing = differences(binding, profile)
    if Kind.EMAIL in differing:
        return "contradicts"
    if Kind.EXTERNAL_ID in differing:
        return "gained_external_id" if binding.external_id is None else "contradicts"
    return "same" if profile.id == binding.profile_id else "moved"
