"""Phones (R14): attached to a profile that is known, and never used to decide which customer is meant.

A phone never travels with a create, an import or an event. To Klaviyo a known phone with a new email is the same
person, so one customer's profile would be handed to another ("Update profile identifiers via API"). Nothing here can
fail the call, because its main write is done by then.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo._api.responses import is_success
from safeklaviyo._flows.binding import note_quietly
from safeklaviyo._flows.call import MISSING, TAKEN_OR_MISSING, Call, send
from safeklaviyo._flows.identity.reads import not_visible, read_profile, search
from safeklaviyo._rules.shown import phone_of
from safeklaviyo.errors import BadRequestError, InvalidIdentifierError, SafeKlaviyoError
from safeklaviyo.identity import Kind
from safeklaviyo.stores.base import Change

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo.identity import Claim
    from safeklaviyo.models import Binding, Profile
    from safeklaviyo.notices import NoticeCode
    from safeklaviyo.stores.base import Lease


def attach_phone(call: Call, claim: Claim, binding: Binding, profile: Profile | None) -> Flow[None]:
    """Attach the claim's phone number to the profile, where it has none; otherwise say so in the warnings.

    Args:
        profile: The profile as it was just read, if it was.
    """
    if claim.unusable_phone:
        _notice(call, "phone_invalid", "the phone number is not in E.164 form and was left out")
    if claim.phone_number is None or claim.phone_number == binding.phone_number:
        return
    if binding.phone_number is not None:
        _notice(call, "phone_differs", "the customer has another phone number, which was kept")
    elif binding.profile_id is None:
        _notice(call, "phone_not_attached", "the profile is not known by its id yet, so the phone number was left out")
    else:
        # Any failure becomes a warning: an error now would say that the main write had failed.
        try:
            yield from _attach(call, binding, binding.profile_id, claim.phone_number, profile)
        except SafeKlaviyoError:
            _notice(call, "phone_not_attached", "the phone number could not be attached this time")


def _attach(call: Call, binding: Binding, profile_id: str, phone_number: str, profile: Profile | None) -> Flow[None]:
    if profile is None:
        profile = yield from read_profile(call, profile_id)
    # Klaviyo is asked although the map knows no number: a form or a person may have added one.
    held = None if profile is None else phone_of(profile)
    if held is None:
        try:
            request = call.dialect.move(profile_id, phone_number=phone_number)
            response = yield from send(call, request, accept=TAKEN_OR_MISSING)
        except BadRequestError:
            _notice(call, "phone_invalid", "Klaviyo does not accept the phone number, which was left out")
            return
        if response.status in MISSING:
            raise not_visible()
        if not is_success(response.status):
            _notice(call, "phone_taken", "the phone number is another profile's and was left out")
            return
    elif held != phone_number:
        # To replace it would cost the consent that was given for it (Klaviyo's help on SMS consent).
        _notice(call, "phone_differs", "the customer has another phone number in Klaviyo, which was kept")
        return
    yield from note_quietly(call, Change(replace(binding, phone_number=phone_number), verified=False))


def give_phone(call: Call, lease: Lease, profile_id: str, phone_number: str) -> Flow[None]:
    """Attach a phone number that consent is given for, to a profile that has none.

    Raises:
        InvalidIdentifierError: Another profile has it, or Klaviyo does not accept it.
    """
    # The search first: Klaviyo's refusal would come after the customer was told that they are subscribed.
    others = yield from search(call, Kind.PHONE_NUMBER, phone_number)
    is_taken = any(other != profile_id for other in others)
    if not is_taken:
        try:
            request = call.dialect.move(profile_id, phone_number=phone_number)
            response = yield from send(call, request, accept=TAKEN_OR_MISSING, lease=lease, writes_on=profile_id)
        except BadRequestError as error:
            raise _unusable("Klaviyo does not accept the phone number") from error
        if response.status in MISSING:
            raise not_visible()
        is_taken = not is_success(response.status)
    if is_taken:
        raise _unusable("the phone number is another profile's")


def _unusable(message: str) -> InvalidIdentifierError:
    return InvalidIdentifierError(message, identifier_kind=Kind.PHONE_NUMBER, rule="R14")


def _notice(call: Call, code: NoticeCode, message: str) -> None:
    call.notice(code, Kind.PHONE_NUMBER.value, message)
