"""One call of the shop on its way through the guard."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo.guard._decide.by_map import Person, Rulings
    from safeklaviyo.guard._decide.verdicts import Action
    from safeklaviyo.guard._parse.asked import Asked
    from safeklaviyo.guard._write.replies import Fault, Reply
    from safeklaviyo.identity import Claim
    from safeklaviyo.models import Binding


@dataclass(slots=True, repr=False)
class Case:
    """A request, and what has become of it so far.

    Attributes:
        asked: The request, as it was read.
        people: The people whom the request names; empty until they are read.
        rulings: What the map says about the request; None until the map was asked.
        action: What the guard does with the request.
        rule: The rule that decided; None if none did.
        reason: Why, in one sentence.
        rewritten: The places that were changed in the request's body.
        body: The body that goes out in place of the caller's; None for the caller's own.
        target: The method and the path that go out in place of the caller's; None for the caller's own.
        statuses: The status that the caller gets for a status of Klaviyo's, where the two differ.
        answer: The guard's own answer; None if the request goes to Klaviyo.
        faults: Why the request was refused.
        customers: The people who are named in the request that goes out, with what the caller said of each.
        on_their_way: Ends the note that an event about a customer is on its way.
        account: The namespace of the map.
        has_outbox: The client was given an outbox, into which what is refused may be put.
        unique_id: The key for an event that has none; None where none is to be added.
        parked: The rows of the outbox that hold what was refused.
    """

    asked: Asked
    people: tuple[Person, ...] = ()
    rulings: Rulings | None = None
    action: Action = "pass"
    rule: str | None = None
    reason: str = "the request names no people"
    rewritten: tuple[str, ...] = ()
    body: bytes | None = None
    target: tuple[str, str] | None = None
    statuses: dict[int, int] = field(default_factory=dict[int, int])
    answer: Reply | None = None
    faults: list[Fault] = field(default_factory=list[Any])
    customers: list[tuple[Claim, Binding]] = field(default_factory=list[Any])
    on_their_way: list[Callable[[], None]] = field(default_factory=list[Any])
    account: str | None = None
    has_outbox: bool = False
    unique_id: str | None = None
    parked: tuple[int, ...] = ()

    def say(self, action: Action, rule: str | None, reason: str) -> None:
        """Note what the guard does with the request, and why."""
        self.action, self.rule, self.reason = action, rule, reason

    def land(self) -> None:
        """End every note that an event of this request is on its way."""
        while self.on_their_way:
            self.on_their_way.pop()()
