"""What Klaviyo's own answers permit: which profile may be bound, changed or created for a customer.

A search is a pointer; only a profile that was read by its id is evidence (H7). These are pure functions over such
profiles. They carry the second half of the rules: first contact (R4, R9, R12), answers that contradict the map (R15),
and conflicts (R17). Read next: `_flows.leased.first_contact`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from safeklaviyo import errors
from safeklaviyo._rules.conflicts import ambiguity_error
from safeklaviyo._rules.shown import email_of, has_email

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo.models import Binding, Profile


@dataclass(frozen=True, slots=True)
class ContactStep:
    """What first contact has to do to give a customer a profile.

    Attributes:
        kind: One of
            ``"bind"``: the profile is the customer's as it stands;
            ``"identify"``: the profile has the email and lacks the external id;
            ``"address"``: the profile has the external id and lacks the email;
            ``"create"``: there is no profile.
        profile: The profile concerned; None for ``"create"``.
    """

    kind: Literal["bind", "identify", "address", "create"]
    profile: Profile | None = None


def contact_step(external_id: str | None, email: str, profiles: Iterable[Profile]) -> ContactStep:
    """Decide which profile belongs to a customer who is not bound yet (R4, R12, R17).

    Args:
        profiles: The profiles that the searches found, each read by its id.

    Raises:
        ExternalIdMismatchError: The email is on another customer's profile (R7).
        EmailMismatchError: The external id has another address in Klaviyo (R6).
        AmbiguousIdentityError: Several profiles answer.
    """
    known = tuple(profiles)
    addressed = [profile for profile in known if has_email(profile, email)]
    # R12: for an email alone, the one profile with that email is the customer's, with or without an external id.
    if external_id is None:
        if len(addressed) > 1:
            raise ambiguity_error("several profiles have this email", None, email, addressed)
        return ContactStep("bind", addressed[0]) if addressed else ContactStep("create")
    identified = [profile for profile in known if profile.external_id == external_id]
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
    # The two refusals come first: a profile that shows another value belongs to another customer (P3, F-4).
    if addressed is not None and addressed.external_id is not None:
        raise errors.ExternalIdMismatchError(
            "the email belongs to a profile with another external_id",
            current_external_id=addressed.external_id,
            external_id=external_id,
            email=email,
            rule="R7",
        )
    if identified and identified[0].email is not None:
        raise errors.EmailMismatchError(
            "the external_id belongs to a profile with another email; change_email is the verb that changes it",
            current_email=email_of(identified[0]),
            external_id=external_id,
            email=email,
            rule="R6",
        )
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


def owner_of_external_id(external_id: str, profiles: Iterable[Profile]) -> Profile:
    """Return the one profile with this external id and an email (R9).

    Raises:
        IdOnlyError: There is none, or it has no email.
        AmbiguousIdentityError: There are several.
    """
    # Klaviyo's search may lag, so what was found is compared with what was asked for.
    owners = [profile for profile in profiles if profile.external_id == external_id]
    if len(owners) > 1:
        raise ambiguity_error("several profiles have this external_id", external_id, None, owners)
    if not owners or email_of(owners[0]) is None:
        raise errors.IdOnlyError(
            "neither the map nor Klaviyo knows an email of this external_id; give the email too",
            external_id=external_id,
            rule="R9",
        )
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
    if not has_email(profile, binding.email):
        return "contradicts"
    if profile.external_id != binding.external_id:
        return "gained_external_id" if binding.external_id is None else "contradicts"
    return "same" if profile.id == binding.profile_id else "moved"
