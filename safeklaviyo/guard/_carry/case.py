"""One call of the shop's on its way through the guard."""

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
        rulings: What the map says of it; None until the map was asked.
        action: What became of it, with the rule and the reason.
        rewritten: The places that were changed in its body.
        body: The body that goes out in place of the caller's; None for the caller's own.
        target: The method and the path that go out in place of the caller's; None for the caller's own.
        statuses: The status that the caller is answered in place of Klaviyo's, where they differ.
        answer: The guard's own answer; None where the request goes to Klaviyo.
        faults: Why it was refused.
        customers: The people who are named in the request that goes out, with what the caller said of each.
        on_their_way: Ends the note that an event about a customer is on its way.
        account: The namespace of the map.
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

    def say(self, action: Action, rule: str | None, reason: str) -> None:
        """Note what became of the request."""
        self.action, self.rule, self.reason = action, rule, reason

    def land(self) -> None:
        """Note that nothing of this request is on its way any more."""
        while self.on_their_way:
            self.on_their_way.pop()()
