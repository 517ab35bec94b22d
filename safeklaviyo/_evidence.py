"""What Klaviyo's own answers permit: who may be bound, adopted, created or changed, given the profiles that were read.

A search is a pointer; only a profile read by its id is evidence (H7 of the design's model). These are pure functions
over such profiles. They carry the second half of the rules: first contact (R4, R9, R12), answers that contradict the
map (R15), and conflicts (R17). Read next: `_operations._contact`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from safeklaviyo import _wire, errors
from safeklaviyo.identity import Identity, comparable_email, normalise_phone_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo._flow import Response
    from safeklaviyo.models import Binding, Profile


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a person belongs in Klaviyo.

    Attributes:
        step: ``"bind"``: the profile is theirs as it stands; ``"identify"``: it lacks the external id;
            ``"address"``: it lacks the email; ``"create"``: there is none.
        profile: The profile concerned; None for ``"create"``.
    """

    step: Literal["bind", "identify", "address", "create"]
    profile: Profile | None = None


def has_email(profile: Profile, email: str | None) -> bool:
    """Tell whether the profile's address is this one, however Klaviyo writes it."""
    return email is not None and email_of(profile) == email


def email_of(profile: Profile) -> str | None:
    """Return the profile's address in the form in which addresses are compared."""
    return None if profile.email is None else (comparable_email(profile.email) or None)


def phone_of(profile: Profile) -> str | None:
    """Return the profile's phone number in the form in which numbers are compared; old profiles hold other forms."""
    if profile.phone_number is None:
        return None
    try:
        return normalise_phone_number(profile.phone_number)
    except errors.InvalidIdentifierError:
        return profile.phone_number


def place(external_id: str | None, email: str, profiles: Iterable[Profile]) -> Placement:
    """Decide where a person who is not bound yet belongs (R4, R12, R17).

    Raises:
        ExternalIdMismatchError: The address is another customer's (R7).
        EmailMismatchError: The external id has another address in Klaviyo (R6).
        AmbiguousIdentityError: Several profiles answer.
    """
    known = tuple(profiles)
    addressed = [profile for profile in known if has_email(profile, email)]
    if external_id is None:
        if len(addressed) > 1:
            raise ambiguous("several profiles have this email", None, email, addressed)
        return Placement("bind", addressed[0]) if addressed else Placement("create")
    identified = [profile for profile in known if profile.external_id == external_id]
    both = [profile for profile in addressed if profile.external_id == external_id]
    if len(both) == 1:
        return Placement("bind", both[0])
    if len(addressed) > 1 or len(identified) > 1:
        raise ambiguous("several profiles answer to these identifiers", external_id, email, [*addressed, *identified])
    return _place_apart(external_id, email, *addressed[:1], identified=identified)


def _place_apart(
    external_id: str, email: str, addressed: Profile | None = None, *, identified: list[Profile]
) -> Placement:
    """Decide where no profile has both identifiers and at most one has each."""
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
    if identified and addressed is not None:
        raise ambiguous(
            "one profile has the external_id and another the email; they have to be merged first",
            external_id,
            email,
            [*identified, addressed],
        )
    if identified:
        return Placement("address", identified[0])
    return Placement("create") if addressed is None else Placement("identify", addressed)


def owner_of_external_id(external_id: str, profiles: Iterable[Profile]) -> Profile:
    """Return the one profile with this external id and an email (R9).

    Raises:
        IdOnlyError: There is none, or it has no email.
        AmbiguousIdentityError: There are several.
    """
    owners = [profile for profile in profiles if profile.external_id == external_id]
    if len(owners) > 1:
        raise ambiguous("several profiles have this external_id", external_id, None, owners)
    if not owners or email_of(owners[0]) is None:
        raise errors.IdOnlyError(
            "nobody knows the email of this external_id; give it too, or a duplicate profile would come of it",
            external_id=external_id,
            rule="R9",
        )
    return owners[0]


Agreement = Literal["same", "gained_external_id", "moved", "contradicts"]


def compare(binding: Binding, profile: Profile) -> Agreement:
    """Compare Klaviyo's answer with the map (R15).

    Returns:
        ``"same"``; ``"gained_external_id"``: a guest's profile has got an external id; ``"moved"``: the same pair under
        another profile id, as after a merge; or ``"contradicts"``.
    """
    if not has_email(profile, binding.email):
        return "contradicts"
    if profile.external_id != binding.external_id:
        return "gained_external_id" if binding.external_id is None else "contradicts"
    return "same" if profile.id == binding.profile_id else "moved"


def drift(binding: Binding, profile: Profile, message: str) -> errors.IdentityDriftError:
    """Return the error that says how Klaviyo contradicts the map."""
    return errors.IdentityDriftError(
        message,
        profile_id=profile.id,
        found_external_id=profile.external_id,
        found_email=email_of(profile),
        external_id=binding.external_id,
        email=binding.email,
        rule="R15",
    )


def other_with(wanted: Binding, own: Profile | None, profiles: Iterable[Profile]) -> Profile | None:
    """Return another profile than the customer's own, if there is one, that shows one of the identifiers wanted."""
    for profile in profiles:
        has_id = wanted.external_id is not None and profile.external_id == wanted.external_id
        has_phone = wanted.phone_number is not None and phone_of(profile) == wanted.phone_number
        is_own = own is not None and profile.id == own.id
        if not is_own and (has_email(profile, wanted.email) or has_id or has_phone):
            return profile
    return None


def taken(wanted: Binding, other: Profile) -> errors.IdentityError:
    """Return the error that says whose an identifier wanted is."""
    common = {"external_id": other.external_id, "email": email_of(other)}
    if has_email(other, wanted.email):
        whose = "another customer's" if other.external_id is not None else "on another profile"
        return errors.EmailTakenError(f"the new email is {whose}", profile_id=other.id, **common)
    if wanted.external_id is not None and other.external_id == wanted.external_id:
        return errors.ExternalIdMismatchError(
            "the new external_id is on another profile", current_external_id=other.external_id, **common
        )
    return errors.ProfileConflictError(
        "the new phone number is another profile's",
        status_code=409,
        identifier="phone_number",
        profile_id=other.id,
        rule="R17",
        **common,
    )


def unexplained(
    response: Response | None, pair: Identity, identifier: str | None = None
) -> errors.ProfileConflictError:
    """Return the error for a conflict that the profiles read do not explain (R17).

    Args:
        identifier: The kind of the only identifier that was sent, where it was one.
    """
    cause = None if response is None else _wire.error_from(response, outcome="not_applied")
    return errors.ProfileConflictError(
        "Klaviyo reports that an identifier is another profile's, and no profile that can be read shows it",
        status_code=409 if cause is None else cause.status_code,
        code=None if cause is None else cause.code,
        errors=() if cause is None else cause.errors,
        request_id=None if cause is None else cause.request_id,
        identifier=identifier,
        profile_id=None if response is None else _wire.duplicate_profile_id(response),
        external_id=pair.external_id,
        email=pair.email,
        rule="R17",
    )


def ambiguous(
    message: str, external_id: str | None, email: str | None, profiles: list[Profile]
) -> errors.AmbiguousIdentityError:
    ids = tuple(dict.fromkeys(profile.id for profile in profiles))
    return errors.AmbiguousIdentityError(message, profile_ids=ids, external_id=external_id, email=email)
