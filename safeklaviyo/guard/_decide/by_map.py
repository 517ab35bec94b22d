"""What the rules say about a caller's request, given what the map has found: pure, the same in every mode.

In observe nothing follows. In enforce the flows of `_carry` begin here, and settle with Klaviyo what the map alone
cannot decide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from safeklaviyo._rules.claims import claim_from, decide, refusal
from safeklaviyo.errors import EmailMismatchError, IdentityError, InvalidIdentifierError, SafeKlaviyoError
from safeklaviyo.identity import Claim, Identifier, Kind, normalise_profile_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo.guard._decide.verdicts import Action
    from safeklaviyo.guard._parse.asked import Asked, Named
    from safeklaviyo.models import Binding, Decision
    from safeklaviyo.policy import Policy
    from safeklaviyo.stores.base import Found

GIVING: Final = frozenset({"bulk_subscribe_profiles", "bulk_unsuppress_profiles"})
WITHDRAWING: Final = frozenset({"bulk_unsubscribe_profiles", "bulk_suppress_profiles"})
_CHANGING: Final = frozenset({"update_profile", "create_or_update_profile"})
CARRIED_OUT: Final = frozenset({"create_profile", "merge_profiles"}) | GIVING | WITHDRAWING
"""The operations that the guard carries out by itself, and answers."""

_NAMED: Final = "the profile is named by Klaviyo's id or by a browser's mark, and no identifier is written"
# From the least severe. A request is as severe as the most severe of its people.
_SEVERITY: Final[tuple[Action, ...]] = (
    "pass", "rewrite", "answer", "change", "contact", "lookup", "wait", "refuse",
)  # fmt: skip
_IDENTIFIERS: Final = ("external_id", "email", "phone_number")


@dataclass(frozen=True, slots=True, repr=False)
class Person:
    """One person whom a request names, after R1 and R2.

    Attributes:
        named: The person, as the request's body has them.
        claim: The shop's own identifiers of the person; None if the request gives none.
        error: Why the request cannot be sent about this person.
        targets: The id of the profile that the request names; None if it names none.
        is_settled: The request names the profile by its id or by a browser's mark, and gives no identifier: the map is
            not asked.
    """

    named: Named
    claim: Claim | None = None
    error: IdentityError | None = None
    targets: str | None = None
    is_settled: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Ruling:
    """What the map says about one person.

    Attributes:
        binding: The customer; None if the map does not know them.
        error: The refusal; None if the person is not refused.
        decision: The rules' decision; None if they were not asked.
    """

    person: Person
    action: Action
    rule: str | None
    reason: str
    binding: Binding | None = None
    error: SafeKlaviyoError | None = None
    decision: Decision | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Rulings:
    """What the map says about a request: about its people, and about all of it."""

    action: Action
    rule: str | None
    reason: str
    each: tuple[Ruling, ...] = ()


def people_of(asked: Asked, policy: Policy) -> tuple[Person, ...]:
    """Return the people of a request, each with their claim or with what is wrong with it (R1, R2)."""
    return tuple(_person(asked, named, policy) for named in asked.people)


def names_of(people: Iterable[Person]) -> tuple[Identifier, ...]:
    """Return the identifiers that the map is asked for."""
    names: dict[Identifier, None] = {}
    for person in people:
        if person.is_settled:
            continue
        if person.targets is not None:
            names[Identifier(Kind.PROFILE_ID, person.targets)] = None
        if person.claim is not None:
            names.update(dict.fromkeys(person.claim.identifiers()))
    return tuple(names)


def rule_on(asked: Asked, people: Iterable[Person], found: Found, policy: Policy) -> Rulings:
    """Return what the map says about a request."""
    if asked.problem is not None:
        return Rulings("refuse", None, asked.problem.reason)
    if asked.name == "merge_profiles":
        return Rulings("lookup", None, "both profiles are read before a merge")
    people = tuple(people)
    if not people:
        return Rulings("pass", None, "the request names no people")
    if len(people) == 1:  # all that was found is about this one
        only = _ruling(asked, people[0], found, policy)
        return Rulings(only.action, only.rule, only.reason, (only,))
    each = tuple(_ruling(asked, person, _part(person, found), policy) for person in people)
    first = max(each, key=lambda ruling: _SEVERITY.index(ruling.action))
    return Rulings(first.action, first.rule, first.reason, each)


def away(asked: Asked, people: Iterable[Person]) -> Rulings | None:
    """Return the rulings that need no map, while it does not answer: a request that is refused, or passes, anyway.

    Returns:
        None if only the map could tell.
    """
    if asked.problem is not None:
        return Rulings("refuse", None, asked.problem.reason)
    for person in people:
        if person.error is not None:
            return Rulings("refuse", person.error.rule, str(person.error))
    if asked.name != "merge_profiles" and all(each.is_settled for each in people):
        return Rulings("pass", None, _NAMED)
    return None


def _person(asked: Asked, named: Named, policy: Policy) -> Person:
    try:
        targets = _targets(asked, named)
        if named.names_nobody:
            return _unnamed(asked, named, targets)
        external_id, email, phone_number = (named.given(name) for name in _IDENTIFIERS)
        if external_id is email is None and (asked.name in GIVING | WITHDRAWING or targets is not None):
            # A phone number alone. For consent the verbs find its one owner. A profile that is named by its id may
            # have any number.
            is_settled = targets is not None and _is_settled(asked, named)
            return Person(named, Claim(), targets=targets, is_settled=is_settled)
        return Person(named, claim_from(external_id, email, phone_number, policy), targets=targets)
    except IdentityError as error:
        return Person(named, error=error)


def _targets(asked: Asked, named: Named) -> str | None:
    """Return the profile that the request names by its id."""
    given = named.profile_id
    if asked.operation is not None and asked.operation.profile_id is not None:
        path_id = normalise_profile_id(asked.operation.profile_id)
        # Klaviyo goes by the path, while the shop's code may mean the body. Then the wrong profile would be changed.
        if given not in {None, path_id} if isinstance(given, str | None) else True:
            raise InvalidIdentifierError("the profile's id in the body is another than that in the path; give one")
        return path_id
    # A create takes no id: the profile does not exist yet.
    return None if given is None or asked.name == "create_profile" else normalise_profile_id(given)


def _unnamed(asked: Asked, named: Named, targets: str | None) -> Person:
    """Return a person without the shop's identifiers: named by a profile's id, by a browser's mark, or refused (R2)."""
    if targets is not None:
        return Person(named, targets=targets, is_settled=_is_settled(asked, named))
    if named.is_of_browser and asked.name not in CARRIED_OUT:
        return Person(named, is_settled=True)
    raise InvalidIdentifierError("no customer is named: give an email, an external_id, or both", rule="R2")


def _is_settled(asked: Asked, named: Named) -> bool:
    """Tell whether a person named by a profile's id, without identifiers, needs no decision."""
    return asked.name not in CARRIED_OUT and not (asked.name in _CHANGING and _clears(named))


def _part(person: Person, found: Found) -> Found:
    """Return what the map has found about one person of the request."""
    names = set(names_of((person,)))
    matches = tuple(match for match in found.matches if match.identifier in names)
    lease = found.lease
    # A lease on another person of the request makes that person wait, not this one. It counts for this person if it
    # holds any identifier of theirs, even one that the request does not give.
    if lease is not None:
        for match in matches:
            binding = match.binding
            names.update(Claim(binding.external_id, binding.email).identifiers())
            if binding.profile_id is not None:
                names.add(Identifier(Kind.PROFILE_ID, binding.profile_id))
        lease = None if lease.identifiers.isdisjoint(names) else lease
    return replace(found, matches=matches, lease=lease)


def _ruling(asked: Asked, person: Person, found: Found, policy: Policy) -> Ruling:
    # Step 1: what needs no map. A person with a wrong identifier is refused before anything else (R1, R2).
    if person.error is not None:
        return Ruling(person, "refuse", person.error.rule, str(person.error), error=person.error)
    if person.is_settled:
        return Ruling(person, "pass", None, _NAMED)
    # Step 2: a withdrawal is always carried out, even where the map could not say who this is (R19).
    if asked.name in WITHDRAWING:
        return Ruling(person, "answer", "R19", "what is withdrawn is withdrawn for every profile of the customer")
    # Step 3: a profile that is named by its id outranks the identifiers beside it.
    if person.targets is not None and (asked.name in _CHANGING | GIVING):
        return _by_profile(asked, person, found)
    if person.claim is None or not person.claim.identifiers():
        return Ruling(person, "lookup", "R18", "Klaviyo has to be asked who has the phone number")
    # Step 4: all others are decided by the rules of the client itself.
    decision = decide(person.claim, found, policy)
    return _decided(asked, person, decision)


def _decided(asked: Asked, person: Person, decision: Decision) -> Ruling:
    """Return a decision of the rules as a ruling on the caller's request."""
    binding = decision.binding
    if decision.action == "refuse":
        # A binding that was learnt or imported is a hint until it is checked, and a hint refuses no call (H34).
        if is_hint(decision):
            reason = "what stands in the way was never checked"
            return Ruling(person, "lookup", "R16", reason, binding, decision=decision)
        return Ruling(person, "refuse", decision.rule, decision.reason, binding, refusal(decision), decision)
    if decision.action != "send" or binding is None:
        # Without a binding there is no profile to name: a lookup makes one.
        action: Action = "lookup" if decision.action == "send" else decision.action
        return Ruling(person, action, decision.rule, decision.reason, binding, decision=decision)
    if person.targets not in {None, binding.profile_id}:
        error = different_people()
        return Ruling(person, "refuse", None, str(error), binding, error, decision)
    sent: Action = "answer" if asked.name in CARRIED_OUT else "rewrite"
    return Ruling(person, sent, decision.rule, decision.reason, binding, decision=decision)


def is_hint(decision: Decision) -> bool:
    """Tell whether a refusal rests on a binding that was never checked with Klaviyo."""
    binding = decision.binding
    in_the_way = binding is not None and binding.verified_at is None and binding.profile_id is not None
    return in_the_way and decision.rule in {"R6", "R7"}


def different_people() -> InvalidIdentifierError:
    """Return the refusal of a person named by a profile's id and by another customer's identifiers."""
    return InvalidIdentifierError("the profile's id and the identifiers beside it are different people's; omit one")


def _by_profile(asked: Asked, person: Person, found: Found) -> Ruling:
    """Rule on a change of one profile that is named by its id, or on consent for it."""
    if found.lease is not None:
        return Ruling(person, "wait", "R13", "another call is writing about this customer")
    binding = found.current(Kind.PROFILE_ID)
    if binding is None:
        return Ruling(person, "lookup", "R16", "the map does not know the profile, which has to be read first")
    if asked.name in GIVING:
        return Ruling(person, "answer", "R18", "consent is given for the profile that is named", binding)
    return _change(person, found, binding)


def _change(person: Person, found: Found, binding: Binding) -> Ruling:
    """Rule on a change of a known customer's profile: is an identifier changed, and does another customer have it?"""
    claim = person.claim
    taken = _taken(claim, found, binding)
    if taken is not None:
        return taken_by(person, taken)
    if claim is None or _differs(claim, binding) or _clears(person.named):
        return Ruling(person, "change", "R6", "the request changes an identifier, which is done first", binding)
    return Ruling(person, "rewrite", "R3", "the profile has these identifiers already", binding)


def taken_by(person: Person, owner: Binding) -> Ruling:
    """Return the ruling on an identifier that another customer has (R7)."""
    reason = "the identifier is another customer's"
    if owner.verified_at is None and owner.profile_id is not None:
        return Ruling(person, "lookup", "R16", "what stands in the way was never checked", owner)
    error = EmailMismatchError(reason, rule="R7")
    return Ruling(person, "refuse", "R7", reason, owner, error)


def _taken(claim: Claim | None, found: Found, binding: Binding) -> Binding | None:
    owners = [found.current(each.kind) for each in (() if claim is None else claim.identifiers())]
    return next((owner for owner in owners if owner is not None and owner.key != binding.key), None)


def _differs(claim: Claim, binding: Binding) -> bool:
    return any(
        given is not None and given != own
        for given, own in ((claim.email, binding.email), (claim.external_id, binding.external_id))
    )


def _clears(named: Named) -> bool:
    """Tell whether the request sets an identifier to null."""
    attributes = named.attributes
    if attributes is None:
        return False
    return any(name in attributes.members and attributes.get(name) is None for name in ("email", "external_id"))
