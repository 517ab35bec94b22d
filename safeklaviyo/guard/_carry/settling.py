"""Settling who a request is about before it is sent, with Klaviyo's help where the map does not know.

The map decides first, by the same code as in observe. The flows of the verbs settle what the map leaves open, with
their leases and their first contact. These flows do not send the caller's request. They leave in the case the request
that goes out in its place, or the answer.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from safeklaviyo._api.dialects import CallersCreate
from safeklaviyo._api.profiles import create_as_written
from safeklaviyo._flows.call import Call, run
from safeklaviyo._flows.deadlines import start_deadline
from safeklaviyo._flows.identity.phones import attach_phone
from safeklaviyo._flows.required import required
from safeklaviyo._flows.verbs.person import person_of
from safeklaviyo.errors import IdentityError, InvalidPropertyError
from safeklaviyo.guard._carry.consents import give, withdraw
from safeklaviyo.guard._carry.merging import merge
from safeklaviyo.guard._carry.parking import park, parks_rows
from safeklaviyo.guard._carry.updating import update
from safeklaviyo.guard._decide.by_map import GIVING, WITHDRAWING, different_people, names_of, people_of, rule_on
from safeklaviyo.guard._write.bodies import has_lists, name_events, name_profiles, new_profile, packed
from safeklaviyo.guard._write.replies import Reply, accepted, fault_of, fault_of_problem, taken
from safeklaviyo.stores.base import Found
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Setup
    from safeklaviyo._flows.identity.resolve import Resolved
    from safeklaviyo.guard._carry.case import Case
    from safeklaviyo.guard._carry.parking import Refused
    from safeklaviyo.guard._decide.by_map import Person, Ruling
    from safeklaviyo.guard._parse.asked import Named
    from safeklaviyo.identity import Identity
    from safeklaviyo.models import Binding

NOTHING_FOUND: Final = Found((), None, 0.0)
_EVENTS: Final = frozenset({"create_event", "bulk_create_events"})
_NAMING: Final = _EVENTS | {
    "bulk_import_profiles", "create_back_in_stock_subscription", "create_push_token",
}  # fmt: skip
"""The operations of which nothing is left to do, once the customers are named."""
_KNOWN: Final = frozenset({"pass", "rewrite"})
_PATCH: Final = "/api/profiles/"
_PARKED: Final = "what was refused waits in the outbox"


def settle(setup: Setup, case: Case) -> Flow[None]:
    """Settle one request, in enforce.

    Raises:
        SafeKlaviyoError: The request cannot be settled. Nothing of it was sent.
    """
    return run(setup, "guard", lambda call: _settle(call, case))


def _settle(call: Call, case: Case) -> Flow[None]:
    # Step 1: ask the map about all people at once, and decide as observe does.
    case.people = people_of(case.asked, call.policy)
    names = names_of(case.people)
    found = (yield from Find(call.account, names)) if names else NOTHING_FOUND
    # Step 2: settle what the map alone decides. Before step 3, so that a request with one refused person writes nothing
    # for the others.
    if settled_by_map(call.setup, case, found):
        return
    # Step 3: carry the request out, or prepare the request that goes in its place.
    yield from _by_operation(call, case, required(case.rulings).each)


def settled_by_map(setup: Setup, case: Case, found: Found) -> bool:
    """Settle a request that is refused or passes, or that names customers whom the map knows, as most requests do.

    Returns:
        Whether the request is settled. Otherwise Klaviyo has to be asked, or something is carried out first.
    """
    case.account = setup.shared.account
    case.rulings = rulings = rule_on(case.asked, case.people, found, setup.policy)
    case.say(rulings.action, rulings.rule, rulings.reason)
    if _is_refused(case, rulings.each) or (rulings.action == "pass" and case.unique_id is None):
        return True
    if case.asked.name not in _NAMING or rulings.action not in _KNOWN:
        return False
    _name(setup, case, rulings.each, [(each.person, each.binding) for each in rulings.each if each.binding])
    return True


def _is_refused(case: Case, each: tuple[Ruling, ...]) -> bool:
    """Note the faults that the map alone finds; return whether there are any."""
    if case.asked.problem is not None:
        case.faults.append(fault_of_problem(case.asked.problem))
        return True
    refused = [ruling for ruling in each if ruling.action == "refuse"]
    if refused and not parks_rows(case, refused):
        case.faults += [fault_of(required(ruling.error), ruling.person.named.pointer) for ruling in refused]
    return bool(case.faults)


def _by_operation(call: Call, case: Case, each: tuple[Ruling, ...]) -> Flow[None]:
    """Settle a request that the map lets pass, in the way of its operation."""
    name = case.asked.name
    if name == "merge_profiles":
        yield from merge(call, case)
    elif name in GIVING:
        yield from give(call, case, each)
    elif name in WITHDRAWING:
        yield from withdraw(call, case)
    elif each[0].person.targets is not None and name in {"update_profile", "create_or_update_profile"}:
        yield from update(call, case, each[0])
    elif name in {"create_profile", "create_or_update_profile"}:
        yield from _profile(call, case, each[0])
    else:
        yield from _people(call, case, each)


def _people(call: Call, case: Case, each: tuple[Ruling, ...]) -> Flow[None]:
    """Find or make the profile of each person, and name the profiles in the request."""
    # Step 1: settle each person. A refusal does not end the loop, so that the caller learns of all faults at once.
    customers: list[tuple[Person, Binding]] = []
    refused: list[Refused] = []
    for number, ruling in enumerate(each):
        if number:
            # A request of a thousand people may take longer than the deadline of one call.
            yield from start_deadline(call)
        try:
            binding = yield from _customer(call, ruling)
        except (IdentityError, InvalidPropertyError) as error:
            refused.append((ruling.person.named, error))
            continue
        if binding is not None:
            customers.append((ruling.person, binding))
    # Step 2: park what was refused, or tell it.
    is_over = yield from _refused(call, case, refused)
    if is_over:
        return
    # Step 3: name each customer by the profile, and prepare the changed body.
    _name(call.setup, case, each, customers, tuple(named for named, _ in refused))
    if refused:
        case.say("rewrite", refused[0][1].rule, _PARKED)


def _name(
    setup: Setup,
    case: Case,
    each: tuple[Ruling, ...],
    customers: list[tuple[Person, Binding]],
    gone: tuple[Named, ...] = (),
) -> None:
    """Name each customer by the profile, and prepare the changed body."""
    named = [(person.named, binding) for person, binding in customers]
    case.customers += [(required(person.claim), binding) for person, binding in customers]
    if case.asked.name in _EVENTS:
        alone = setup.policy.event_naming == "profile_id"
        text, places = name_events(case.asked, named, alone=alone, unique_id=case.unique_id, gone=gone)
    else:
        text, places = name_profiles(case.asked, named, gone=gone)
    _go(case, text, places, each[0])
    if case.action == "pass":
        case.say("rewrite", None, "the event got a key from its own content")
    _note_on_its_way(setup, case)


def _refused(call: Call, case: Case, refused: list[Refused]) -> Flow[bool]:
    """Park the people who are refused, or refuse the request; return whether nothing is left to be sent."""
    if not refused:
        return False
    # One refused person ends the whole request: Klaviyo too takes a job as a whole or not at all.
    if not (yield from park(call, case, refused)):
        case.faults += [fault_of(error, named.pointer) for named, error in refused]
        case.say("refuse", case.faults[0].rule, case.faults[0].reason)
        return True
    if len(refused) == len(case.people):
        case.answer = accepted()
        case.say("answer", refused[0][1].rule, _PARKED)
        return True
    return False


def _customer(call: Call, ruling: Ruling) -> Flow[Binding | None]:
    """Return the customer whom the map knows, or find or make one; None for a person named by a profile's id."""
    if ruling.action == "pass":
        return None
    if ruling.action == "refuse":
        raise required(ruling.error)
    if ruling.action == "rewrite":
        return ruling.binding
    resolved = yield from person_of(call, required(ruling.person.claim))
    _check_same(ruling, resolved.binding)
    return resolved.binding


def _check_same(ruling: Ruling, binding: Binding) -> None:
    """Refuse a person named by the id of one profile and by the identifiers of another."""
    if ruling.person.targets not in {None, binding.profile_id}:
        raise different_people()


def _profile(call: Call, case: Case, ruling: Ruling) -> Flow[None]:
    """Carry out a create, or a create-or-update, of a person who is named by the shop's own identifiers."""
    named, claim = ruling.person.named, required(ruling.person.claim)
    is_create = case.asked.name == "create_profile"
    # Step 1: a known customer needs no request. Klaviyo would answer a create with 409 and name the profile; so does
    # the guard.
    if ruling.action in {"rewrite", "answer"}:
        binding = required(ruling.binding)
        if is_create:
            case.answer = taken(required(binding.profile_id), ruling.rule)
        else:
            _update_known(call, case, ruling, binding)
        return
    # Step 2: find the customer, or create the profile with the caller's own document. A second create afterwards
    # would be answered with 409, and what else the caller has sent would be lost.
    revision = case.asked.revision
    words = CallersCreate(
        revision or "", lambda pair: create_as_written(new_profile(case.asked, named, *_pair(pair)), revision)
    )
    own = replace(call, setup=replace(call.setup, dialect=words))
    resolved = yield from person_of(own, claim, main=True)
    case.customers = [(claim, resolved.binding)]
    case.say("contact", resolved.rule, "the profile was found or made first")
    _conclude(call, case, ruling, resolved, words)
    # Step 3: attach the phone number if the guard answers itself; else `finishing` does so after the answer (R14).
    if case.answer is not None and resolved.contact is not None and resolved.contact.created:
        yield from attach_phone(call, claim, resolved.binding, resolved.contact.profile)


def _pair(pair: Identity) -> tuple[str | None, str | None]:
    return pair.external_id, pair.email


def _conclude(call: Call, case: Case, ruling: Ruling, resolved: Resolved, words: CallersCreate) -> None:
    """Choose the answer after a first contact, or the request that is sent after it."""
    contact, named = resolved.contact, ruling.person.named
    is_create = case.asked.name == "create_profile"
    # Step 1: first contact has created the profile, with all that the caller has sent: Klaviyo's answer is the answer.
    is_whole = contact is not None and contact.written and words.created is not None
    if is_whole and words.created is not None and (is_create or not has_lists(named)):
        case.answer = Reply(words.created.status, tuple(words.created.headers.items()), words.created.body)
        return
    # Step 2: the profile was there, and nothing was written onto it: refuse a create, as Klaviyo would.
    if is_create and (contact is None or not contact.moved):
        case.answer = taken(required(resolved.binding.profile_id), resolved.rule)
        return
    # Step 3: write the rest of what the caller sent by the profile's id. The caller asked for a create, so a PATCH that
    # Klaviyo answers with 200 is answered with 201.
    _update_known(call, case, ruling, resolved.binding)
    if is_create:
        case.target = ("PATCH", f"{_PATCH}{required(resolved.binding.profile_id)}")
    if is_create or (contact is not None and contact.created):
        case.statuses[200] = 201


def _update_known(call: Call, case: Case, ruling: Ruling, binding: Binding) -> None:
    """Name the profile by its id, without identifiers. Its phone number is attached afterwards (R14)."""
    named = ruling.person.named
    _check_same(ruling, binding)
    case.customers = [(required(ruling.person.claim), binding)]
    text, places = name_profiles(case.asked, [(named, binding)])
    _go(case, text, places, ruling)
    _note_on_its_way(call.setup, case)


def _go(case: Case, text: str, places: tuple[str, ...], ruling: Ruling) -> None:
    """Put a changed body into the case. An unchanged one stays the caller's own, byte by byte."""
    case.rewritten = places
    if text != case.asked.text:
        case.body = packed(case.asked, text)
    if case.action in {"rewrite", "answer"}:
        case.say("rewrite", ruling.rule, ruling.reason)


def _note_on_its_way(setup: Setup, case: Case) -> None:
    """Let `change_email` in this process see that a request about these customers is on its way (H1)."""
    for _, binding in case.customers:
        on_its_way = (binding.key, object())
        setup.in_flight.enter(on_its_way)
        case.on_their_way.append(partial(setup.in_flight.leave, on_its_way))
