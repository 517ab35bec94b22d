"""Identifiers that point to different profiles: which profile has them, and which error says so (R15, R17).

These are pure functions over profiles that were read by their ids. The flow that met the conflict decides what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo import errors
from safeklaviyo._api.refusals import duplicate_profile_id, error_from
from safeklaviyo._rules.shown import email_of, has_email, phone_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo._api.messages import Response
    from safeklaviyo.identity import Identity
    from safeklaviyo.models import Binding, Profile


def other_with(wanted: Binding, own: Profile | None, profiles: Iterable[Profile]) -> Profile | None:
    """Return a profile, other than the customer's own, that shows one of the identifiers wanted; None without one.

    Args:
        wanted: The binding as it would be after the change.
        own: The customer's own profile, if it is known.
    """
    for profile in profiles:
        has_id = wanted.external_id is not None and profile.external_id == wanted.external_id
        has_phone = wanted.phone_number is not None and phone_of(profile) == wanted.phone_number
        is_own = own is not None and profile.id == own.id
        if not is_own and (has_email(profile, wanted.email) or has_id or has_phone):
            return profile
    return None


def taken_error(wanted: Binding, other: Profile) -> errors.IdentityError:
    """Return the error that names the other profile and the identifier that it has."""
    # The other profile may have several of them; the error names one, so that the caller has one thing to do next.
    common = {"external_id": other.external_id, "email": email_of(other)}
    if has_email(other, wanted.email):
        another, orphan = "another customer's; check it with the customer", "on another profile; merge the two first"
        message = f"the new email is {orphan if other.external_id is None else another}"
        return errors.EmailTakenError(message, profile_id=other.id, **common)
    if wanted.external_id is not None and other.external_id == wanted.external_id:
        message = "the new external_id is on another profile; merge the two profiles first"
        return errors.ExternalIdMismatchError(message, current_external_id=other.external_id, **common)
    return errors.ProfileConflictError(
        "the new phone number is another profile's; check it with the customer",
        status_code=409,
        identifier="phone_number",
        profile_id=other.id,
        rule="R17",
        **common,
    )


def unexplained_conflict(
    response: Response | None, pair: Identity, identifier: str | None = None, *, retry_after: float | None = None
) -> errors.ProfileConflictError:
    """Return the error for a 409 that none of the profiles read explains (R17).

    Args:
        response: The 409; None if the conflict was found without one.
        identifier: The kind of the identifier that was sent, if only one was.
        retry_after: Seconds until lag of Klaviyo's reads can be the reason no longer; None if it cannot be now.
    """
    # The caller gets what Klaviyo said about the refusal, where there was one.
    cause = None if response is None else error_from(response, outcome="not_applied")
    return errors.ProfileConflictError(
        "Klaviyo reports that an identifier is another profile's, and no profile that can be read shows it",
        status_code=409 if cause is None else cause.status_code,
        code=None if cause is None else cause.code,
        errors=() if cause is None else cause.errors,
        request_id=None if cause is None else cause.request_id,
        identifier=identifier,
        profile_id=None if response is None else duplicate_profile_id(response),
        external_id=pair.external_id,
        email=pair.email,
        rule="R17",
        may_retry=retry_after is not None,
        retry_after=retry_after,
    )


def ambiguity_error(
    message: str, external_id: str | None, email: str | None, profiles: list[Profile]
) -> errors.AmbiguousIdentityError:
    """Return the error for several profiles that answer to one customer's identifiers."""
    # In the order read, and each once: the profile that shows both identifiers is in both lists of the caller.
    ids = tuple(dict.fromkeys(profile.id for profile in profiles))
    return errors.AmbiguousIdentityError(message, profile_ids=ids, external_id=external_id, email=email)


def drift_error(binding: Binding, profile: Profile, message: str) -> errors.IdentityDriftError:
    """Return the error that carries what the map has and what Klaviyo shows instead (R15)."""
    return errors.IdentityDriftError(
        message,
        profile_id=profile.id,
        found_external_id=profile.external_id,
        found_email=email_of(profile),
        external_id=binding.external_id,
        email=binding.email,
        rule="R15",
    )
