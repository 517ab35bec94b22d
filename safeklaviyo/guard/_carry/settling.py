"""Settling a request before it goes: who is meant, with Klaviyo's help where the map does not know.

The map's part of the verdict comes first, by the same code as in observe. What it leaves open is settled by the flows
of the verbs, with their leases and their first contact. Nothing of the caller's request has been sent when these flows
end: they leave in the case what goes out in its place, or what is answered.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from safeklaviyo._api.dialects import CallersCreate
from safeklaviyo._api.profiles import create_as_written
from safeklaviyo._flows.call import Call, run, start_deadline
from safeklaviyo._flows.identity.phones import attach_phone
from safeklaviyo._flows.required import required
from safeklaviyo._flows.verbs.person import person_of
from safeklaviyo.errors import IdentityError, InvalidPropertyError
from safeklaviyo.guard._carry.consents import give, withdraw
from safeklaviyo.guard._carry.merging import merge
from safeklaviyo.guard._carry.updating import update
from safeklaviyo.guard._decide.by_map import GIVING, WITHDRAWING, different_people, names_of, people_of, rule_on
from safeklaviyo.guard._write.bodies import has_lists, name_events, name_profiles, new_profile, packed
from safeklaviyo.guard._write.replies import Reply, fault_of, fault_of_problem, taken
from safeklaviyo.stores.base import Found
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Setup
    from safeklaviyo._flows.identity.resolve import Resolved
    from safeklaviyo.guard._carry.case import Case
    from safeklaviyo.guard._decide.by_map import Ruling
    from safeklaviyo.guard._parse.asked import Named
    from safeklaviyo.identity import Identity
    from safeklaviyo.models import Binding

NOTHING_FOUND: Final = Found((), None, 0.0)
_BY_ID_ALONE: Final = frozenset({"create_back_in_stock_subscription", "create_push_token"})
_EVENTS: Final = frozenset({"create_event", "bulk_create_events"})
_PATCH: Final = "/api/profiles/"


def settle(setup: Setup, case: Case) -> Flow[None]:
    """Settle one request, in enforce.

    Raises:
        SafeKlaviyoError: It cannot be settled: nothing of the request was sent.
    """
    return run(setup, "guard", lambda call: _settle(call, case))


def _settle(call: Call, case: Case) -> Flow[None]:
    case.account = call.account
    # Step 1: what the map says, of all people at once.
    case.people = people_of(case.asked, call.policy)
    names = names_of(case.people)
    found = (yield from Find(call.account, names)) if names else NOTHING_FOUND
    case.rulings = rulings = rule_on(case.asked, case.people, found, call.policy)
    case.say(rulings.action, rulings.rule, rulings.reason)
    # Step 2: refuse what is refused whatever Klaviyo says, before anything is asked or written.
    if case.asked.problem is not None:
        case.faults.append(fault_of_problem(case.asked.problem))
        return
    case.faults += [
        fault_of(each.error, each.person.named.pointer)
        for each in rulings.each
        if each.action == "refuse" and each.error is not None
    ]
    if case.faults or rulings.action == "pass":
        return
    # Step 3: carry the request out, or make ready what goes in its place.
    yield from _by_operation(call, case, rulings.each)


def _by_operation(call: Call, case: Case, each: tuple[Ruling, ...]) -> Flow[None]:
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
    """Find or make everyone's profile, and name it in the request."""
    customers: list[tuple[Named, Binding]] = []
    for number, ruling in enumerate(each):
        if number:
            yield from start_deadline(call)
        try:
            binding = yield from _customer(call, ruling)
        except (IdentityError, InvalidPropertyError) as error:
            case.faults.append(fault_of(error, ruling.person.named.pointer))
            continue
        if binding is not None:
            customers.append((ruling.person.named, binding))
            case.customers.append((required(ruling.person.claim), binding))
    # One person who is refused ends the whole request: Klaviyo too takes a job as a whole or not at all.
    if case.faults:
        case.say("refuse", case.faults[0].rule, case.faults[0].reason)
        return
    if case.asked.name in _EVENTS:
        text, places = name_events(case.asked, customers, alone=call.policy.event_naming == "profile_id")
    else:
        text, places = name_profiles(case.asked, customers)
    _go(case, text, places, each[0])
    _note_on_its_way(call, case)


def _customer(call: Call, ruling: Ruling) -> Flow[Binding | None]:
    """Return the customer whom the map knows, or who is found or made now; None for a profile that is named already."""
    if ruling.action == "pass":
        return None
    if ruling.action == "rewrite":
        return required(ruling.binding)
    resolved = yield from person_of(call, required(ruling.person.claim))
    _check_same(ruling, resolved.binding)
    return resolved.binding


def _check_same(ruling: Ruling, binding: Binding) -> None:
    if ruling.person.targets not in {None, binding.profile_id}:
        raise different_people()


def _profile(call: Call, case: Case, ruling: Ruling) -> Flow[None]:
    """Carry out a create, or a create-or-update, of a person who is named by the shop's own identifiers."""
    named, claim = ruling.person.named, required(ruling.person.claim)
    is_create = case.asked.name == "create_profile"
    # Step 1: a known customer. Klaviyo answers a create with 409 and names the profile; so does the guard.
    if ruling.action in {"rewrite", "answer"}:
        binding = required(ruling.binding)
        if is_create:
            case.answer = taken(required(binding.profile_id), ruling.rule)
        else:
            _update_known(call, case, ruling, binding)
        return
    # Step 2: find the customer, or create the profile with the caller's own document.
    revision = case.asked.revision
    words = CallersCreate(
        revision or "", lambda pair: create_as_written(new_profile(case.asked, named, *_pair(pair)), revision)
    )
    own = replace(call, setup=replace(call.setup, dialect=words))
    resolved = yield from person_of(own, claim, main=True)
    case.customers = [(claim, resolved.binding)]
    case.say("contact", resolved.rule, "the profile was found or made first")
    _conclude(call, case, ruling, resolved, words)
    # Step 3: a number is attached, where the request ends here; else after its answer (R14).
    if case.answer is not None and resolved.contact is not None and resolved.contact.created:
        yield from attach_phone(call, claim, resolved.binding, resolved.contact.profile)


def _pair(pair: Identity) -> tuple[str | None, str | None]:
    return pair.external_id, pair.email


def _conclude(call: Call, case: Case, ruling: Ruling, resolved: Resolved, words: CallersCreate) -> None:
    """Say what is answered after a first contact, or what goes out after it."""
    contact, named = resolved.contact, ruling.person.named
    is_create = case.asked.name == "create_profile"
    # Step 1: the create's own answer, which shows all that the caller has sent.
    is_whole = contact is not None and contact.written and words.created is not None
    if is_whole and words.created is not None and (is_create or not has_lists(named)):
        case.answer = Reply(words.created.status, tuple(words.created.headers.items()), words.created.body)
        return
    # Step 2: the profile was there, and nothing was written onto it. A create is refused then, as Klaviyo would.
    if is_create and (contact is None or not contact.moved):
        case.answer = taken(required(resolved.binding.profile_id), resolved.rule)
        return
    # Step 3: the rest of what the caller said is written by the profile's id.
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
    _note_on_its_way(call, case)


def _go(case: Case, text: str, places: tuple[str, ...], ruling: Ruling) -> None:
    case.rewritten = places
    if text != case.asked.text:
        case.body = packed(case.asked, text)
    if case.action in {"rewrite", "answer"}:
        case.say("rewrite", ruling.rule, ruling.reason)


def _note_on_its_way(call: Call, case: Case) -> None:
    """Let changes of this process see that something about these customers is on its way (H1)."""
    for _, binding in case.customers:
        on_its_way = (binding.key, object())
        call.setup.in_flight.enter(on_its_way)
        case.on_their_way.append(partial(call.setup.in_flight.leave, on_its_way))
