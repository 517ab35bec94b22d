"""Which calls of a log are about one person, and which may have influenced each other.

Decided here, on the whole log and never on a part of it:

- one external id is one customer, and an address belongs to the customer together with whom a call names it;
- an address that several customers had belongs, at each time, to the last one who claimed it and has not left it;
- an update by profile id gives its address to the owner of that profile, if the profile only ever had one owner (the
  owners of a profile that was taken over stay two people);
- a phone number does not say who a person is (R14).

Not here: what the calls did (`replays`).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from safeklaviyo.audit._diagnosis.bodies import READS, WRITES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from safeklaviyo.audit._diagnosis.calls import Call, Named

Who = str
"""One person: ``x:`` and an external id, or ``e:`` and an address."""

_BY_ID: Final = frozenset({"update_profile", "update_person"})
_PAGE: Final = 2
"""An answer with more profiles is a page of a list. It does not say which of them belong together."""


@dataclass(slots=True)
class People:
    """The people of a log, and the identifiers and profiles of each.

    Attributes:
        claims: For each address, the customers that claimed it, and when, in the order of the log.
        claimed: For each customer, the addresses that it claimed, and when.
        owner: The owner of each profile.
        taken: The profiles with more than one owner.
        also: The owner of an address that no call names together with an id, found by an update of a profile.
        joined: People who are one person because the caller says so, each with the one that stands for all.
    """

    claims: dict[str, list[tuple[int, Who]]] = field(default_factory=dict[str, "list[tuple[int, Who]]"])
    claimed: dict[Who, list[tuple[int, str]]] = field(default_factory=dict["Who", "list[tuple[int, str]]"])
    owner: dict[str, Who] = field(default_factory=dict[str, "Who"])
    taken: set[str] = field(default_factory=set[str])
    also: dict[str, Who] = field(default_factory=dict[str, "Who"])
    joined: dict[Who, Who] = field(default_factory=dict["Who", "Who"])

    def who(self, row: Named, at: int) -> Who | None:
        """Return the person whom a row names, at a place in the log; None if it names no one, or is ambiguous."""
        found = self._who(row, at)
        return None if found is None else self.joined.get(found, found)

    def _who(self, row: Named, at: int) -> Who | None:
        if row.key is not None:
            return f"x:{row.key}"
        if row.address is not None:
            return self._of_address(row.address, at)
        if row.profile_id is not None and row.profile_id not in self.taken:
            return self.owner.get(row.profile_id)
        return None

    def _of_address(self, address: str, at: int) -> Who | None:
        claims = self.claims.get(address)
        if claims is None:
            return self.also.get(address, f"e:{address}")
        if len({who for _, who in claims}) == 1:
            return claims[0][1]
        index = bisect_right(claims, at, key=_first)
        if index == 0:
            return claims[0][1]
        last, who = claims[index - 1]
        left = any(last < moved <= at and other != address for moved, other in self.claimed[who])
        # Between its last owner's leaving and the next owner's claim, the address may belong to either.
        return None if left and any(other != who for _, other in claims[index:]) else who


def people_of(calls: Sequence[Call], before: Sequence[Named] = ()) -> People:
    """Return the people of a whole log.

    Args:
        calls: The calls of the log.
        before: The profiles that were there when the log begins.
    """
    # Step 1: which customer claims which address, and when. All claims first, because step 2 asks who owns an address.
    people = People()
    for row in before:
        if row.key is not None and row.address is not None:
            _claim(people, f"x:{row.key}", row.address, -1)
    for at, call in enumerate(calls):
        if call.operation in WRITES and call.operation not in {"merge_profiles", "request_profile_deletion"}:
            for row in call.people:
                # A call that Klaviyo refused says as well which person the shop means.
                if row.key is not None and row.address is not None:
                    _claim(people, f"x:{row.key}", row.address, at)
    # Step 2: which person owns which profile.
    for row in before:
        who = people.who(row, -1)
        if row.profile_id is not None and who is not None:
            people.owner[row.profile_id] = who
    for at, call in enumerate(calls):
        _own(people, call, at)
    return people


def join(people: People, profile_ids: Iterable[str]) -> set[Who]:
    """Make the owners of some profiles one person, because the caller says so; return the owners."""
    found = {people.owner[each] for each in profile_ids if each in people.owner}
    first = min(found, default=None)
    people.joined.update({who: first for who in found if first is not None and who != first})
    return found


def _claim(people: People, who: Who, address: str, at: int) -> None:
    people.claims.setdefault(address, []).append((at, who))
    people.claimed.setdefault(who, []).append((at, address))


def _own(people: People, call: Call, at: int) -> None:
    """Note the owner of each profile that an answer or a request shows."""
    for profile_id, row in _told(call):
        by_id = call.operation in _BY_ID and row.key is None
        owner = people.owner.get(profile_id)
        shown = next((each.key for each in call.shown if each.key is not None), None) if by_id else None
        if owner is None and shown is not None:
            # No call of the log has made this profile. The answer shows its owner's id.
            owner = people.owner[profile_id] = f"x:{shown}"
        if by_id and owner is not None and row.address is not None and profile_id not in people.taken:
            # The shop gives its customer a new address. An address that another customer claims stays that customer's.
            if owner.startswith("x:") and row.address not in people.claims:
                _claim(people, owner, row.address, at)
            elif row.address not in people.claims:
                people.also.setdefault(row.address, owner)
        who = people.who(row, at)
        if who is None:
            continue
        if owner is not None and owner != who:
            people.taken.add(profile_id)
        people.owner.setdefault(profile_id, who)


def _told(call: Call) -> Iterator[tuple[str, Named]]:
    """Yield each profile id of a call, with the row that shows its owner."""
    if call.searched is not None and len(call.shown) <= _PAGE:
        yield from ((each.profile_id, each) for each in call.shown if each.profile_id)
    elif call.operation in WRITES and len(call.people) == 1 and (call.accepted or call.operation in _BY_ID):
        row = call.people[0]
        answered = call.shown[0].profile_id if call.shown else row.profile_id
        if answered is not None:
            yield answered, row
    elif call.operation in WRITES:
        yield from ((row.profile_id, row) for row in call.people if row.profile_id)


@dataclass(slots=True)
class Part:
    """The rows of one call that are about one group of linked people.

    Attributes:
        at: The call's place in the log.
        call: The call.
        rows: The rows, each with the person whom it names.
        shown: The profiles of these people in the answer.
    """

    at: int
    call: Call
    rows: list[tuple[Named, Who | None]]
    shown: tuple[Named, ...] = ()


@dataclass(slots=True)
class Group:
    """The parts of a log that may have influenced each other, because they share identifiers.

    Attributes:
        parts: The parts, in the order of the log.
        before: The profiles of these people that were there when the log begins, each with its owner.
    """

    parts: list[Part] = field(default_factory=list[Part])
    before: list[tuple[Named, Who | None]] = field(default_factory=list["tuple[Named, Who | None]"])


def groups(
    calls: Sequence[Call], people: People, before: Sequence[Named] = (), together: Sequence[str] = ()
) -> list[Group]:
    """Cut a log into groups that share no identifier, phone numbers included.

    Args:
        calls: The calls of the log.
        people: The people of the log.
        before: The profiles that were there when the log begins.
        together: Ids of profiles that belong together, because the caller says so.
    """
    # Step 1: link all identifiers that stand in one row or one answer.
    links = _Links()
    links.unite([f"p:{each}" for each in together])
    for row in before:
        links.unite(list(nodes_of(row)))
    for call in calls:
        _link(links, call)
    # Step 2: give each group its profiles and its calls. A call in bulk may have rows in many groups.
    found: dict[str, Group] = {}
    for row in before:
        for root in links.roots(nodes_of(row)):
            found.setdefault(root, Group()).before.append((row, people.who(row, -1)))
    for at, call in enumerate(calls):
        for root, part in _parts(links, people, call, at).items():
            found.setdefault(root, Group()).parts.append(part)
    return [each for each in found.values() if any(part.call.operation not in READS for part in each.parts)]


def _parts(links: _Links, people: People, call: Call, at: int) -> dict[str, Part]:
    """Cut a call into one part for each group that it names."""
    parts: dict[str, Part] = {}
    for row in call.people:
        _part(links, parts, call, at, row).rows.append((row, people.who(row, at)))
    if call.merged is not None:
        _part(links, parts, call, at, None)
    if call.searched is not None:
        for root in links.roots([_asked(call.searched)]):
            parts.setdefault(root, Part(at, call, []))
    for row in call.shown if len(call.shown) <= _PAGE else ():
        for root in links.roots(nodes_of(row)):
            if root in parts:
                parts[root].shown = (*parts[root].shown, row)
    return parts


def _asked(searched: tuple[str, str]) -> str:
    return f"{searched[0]}:{searched[1].lower()}"


def _part(links: _Links, parts: dict[str, Part], call: Call, at: int, row: Named | None) -> Part:
    nodes = [f"p:{each}" for each in call.merged or ()] if row is None else list(nodes_of(row))
    root = next(links.roots(nodes), "")
    return parts.setdefault(root, Part(at, call, []))


def nodes_of(row: Named) -> Iterator[str]:
    """Yield the identifiers of a row, each with its kind. Spellings of one identifier yield the same."""
    if row.profile_id is not None:
        yield f"p:{row.profile_id}"
    if row.external_id is not None:
        yield f"external_id:{(row.key or row.external_id).lower()}"
    if row.email is not None:
        yield f"email:{row.email.lower()}"
    if row.phone_number is not None:
        yield f"phone_number:{row.phone_number}"
    if row.anonymous_id is not None:
        yield f"a:{row.anonymous_id}"


def _link(links: _Links, call: Call) -> None:
    if call.merged is not None:
        links.unite([f"p:{each}" for each in call.merged])
    for row in call.people:
        links.unite(list(nodes_of(row)))
    if call.operation in WRITES and len(call.people) == 1:
        # A call with one row: the answer is about that row's profile. The owner that a conflict names is linked too.
        own = [*nodes_of(call.people[0]), *(node for each in call.shown for node in nodes_of(each))]
        links.unite([*own, *([f"p:{call.owner_shown}"] if call.owner_shown else [])])
    elif len(call.shown) <= _PAGE:
        asked = [] if call.searched is None else [_asked(call.searched)]
        links.unite([*asked, *(node for each in call.shown for node in nodes_of(each))])


class _Links:
    """Linked identifiers: a forest in which linked identifiers have one root."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def unite(self, nodes: Sequence[str]) -> None:
        """Link identifiers with each other."""
        for node in nodes:
            self._above.setdefault(node, node)
        for node in nodes[1:]:
            self._above[self._root(node)] = self._root(nodes[0])

    def roots(self, nodes: Iterable[str]) -> Iterator[str]:
        """Yield the roots of identifiers, each once. Identifiers that were never linked have none."""
        yield from dict.fromkeys(self._root(node) for node in nodes if node in self._above)

    def _root(self, node: str) -> str:
        # Halving the path on the way keeps the trees flat.
        above = self._above
        while above[node] != node:
            above[node] = above[above[node]]
            node = above[node]
        return node


def _first(claim: tuple[int, Who]) -> int:
    return claim[0]
