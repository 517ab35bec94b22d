"""A change of one profile that the caller names by Klaviyo's id.

Identifiers are changed first, each by its verb. The caller's own request changes the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.identity.reads import read_profile
from safeklaviyo._flows.leased.intents import ChangeIntent
from safeklaviyo._flows.leased.leases import wait_or_finish
from safeklaviyo._flows.required import required
from safeklaviyo._flows.verbs.change_email import make_email_change
from safeklaviyo._flows.verbs.changing import customer_of, made_change
from safeklaviyo._rules.shown import email_of
from safeklaviyo.errors import InvalidIdentifierError, NotFoundError
from safeklaviyo.guard._decide.by_map import different_people, names_of, rule_on
from safeklaviyo.guard._write.bodies import name_profiles, packed
from safeklaviyo.guard._write.replies import fault_of
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.guard._carry.case import Case
    from safeklaviyo.guard._decide.by_map import Ruling
    from safeklaviyo.models import Binding


def update(call: Call, case: Case, ruling: Ruling) -> Flow[None]:
    """Change the identifiers that a request changes, and leave the rest to the caller's own request."""
    person = ruling.person
    # Step 1: a profile that the map does not know. Klaviyo shows who its customer is; then the map decides again.
    if ruling.action not in {"pass", "rewrite", "change"}:
        owner = yield from owner_of(call, required(person.targets))
        if owner is None:
            case.say("pass", "R16", "the profile has no identifier yet, and Klaviyo refuses one that is taken")
            return
        found = yield from Find(call.account, names_of((person,)))
        ruling = rule_on(case.asked, (person,), found, call.policy).each[0]
        if ruling.action == "refuse":
            case.faults.append(fault_of(required(ruling.error), person.named.pointer))
            case.say("refuse", ruling.rule, ruling.reason)
            return
    # Step 2: change the identifiers, each by its verb.
    binding = required(ruling.binding)
    case.say("rewrite" if ruling.action == "rewrite" else "change", ruling.rule, ruling.reason)
    refuse_clearing(ruling, binding)
    yield from _change_identifiers(call, person.claim or Claim(), binding)
    # Step 3: the rest goes as the caller wrote it. The phone number stays in it: the request names the profile by its
    # id, and Klaviyo refuses a number that another profile has.
    text, case.rewritten = name_profiles(case.asked, [(person.named, binding)], keep=("phone_number", "anonymous_id"))
    # Step 4: after a change this binding is out of date, so the answer is not compared with it.
    case.customers = [(Claim(), binding)] if ruling.action == "rewrite" else []
    if text != case.asked.text:
        case.body = packed(case.asked, text)


def _change_identifiers(call: Call, claim: Claim, binding: Binding) -> Flow[None]:
    """Give a customer the email and the external id of a claim, under a lease.

    A plain PATCH would leave the old address unretired, and the next call with it would create a duplicate.
    """
    if claim.email is not None and claim.email != binding.email:
        yield from make_email_change(call, claim.email, Claim(binding.external_id, binding.email), main=False)
    if claim.external_id is not None and claim.external_id != binding.external_id:
        named = Claim(None, claim.email or binding.email)
        yield from made_change(call, named, ChangeIntent(new_external_id=claim.external_id))


def refuse_clearing(ruling: Ruling, binding: Binding) -> None:
    """Refuse to take an identifier away by null: a customer without an email would be duplicated.

    Raises:
        InvalidIdentifierError: The request takes an identifier away.
    """
    attributes = ruling.person.named.attributes
    for kind, own in ((Kind.EMAIL, binding.email), (Kind.EXTERNAL_ID, binding.external_id)):
        if own is not None and attributes is not None and kind in attributes.members and attributes.get(kind) is None:
            message = "an identifier of a customer is not taken away; give the new one, or leave it out"
            raise InvalidIdentifierError(message, identifier_kind=kind)


def owner_of(call: Call, profile_id: str) -> Flow[Binding | None]:
    """Return the customer with this profile, from the map. A profile that the map does not know is read and bound.

    Returns:
        None for a profile that shows no identifier by which the shop could name it.

    Raises:
        NotFoundError: Klaviyo does not have the profile.
        IdentityError: The profile shows another customer's identifiers.
    """
    while True:
        # Step 1: ask the map, until no other call holds a lease on the profile (R13).
        found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, profile_id),))
        if found.lease is not None:
            yield from wait_or_finish(call, found.lease)
            continue
        binding = found.current(Kind.PROFILE_ID)
        if binding is not None and binding.email is not None:
            return binding
        # Step 2: read the profile. Its identifiers are evidence, because it was read by its id.
        profile = yield from read_profile(call, profile_id, subscriptions=False)
        if profile is None:
            raise NotFoundError("Klaviyo has no profile of this id; search for the profile", status_code=404)
        email = email_of(profile)
        if email is None:
            return None
        # Step 3: bind the customer with these identifiers. They may belong to another profile by the map.
        resolved = yield from customer_of(call, Claim(profile.external_id, email))
        if resolved.binding.profile_id != profile.id:
            raise different_people()
        return resolved.binding
