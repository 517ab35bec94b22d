"""The name of a cause, the rule that prevents it, and the sentence that explains it.

Decided here: the names of the situations. Klaviyo's staff have numbered some; the others were found in the field:

| situation | a second profile, because |
|---|---|
| 5 | a call gave an address together with another id, and Klaviyo overwrote the id |
| 6 | one call named the customer by id alone and another one by email alone |
| race | two calls looked for the customer at the same moment, and neither found a profile |
| late event | Klaviyo applied an event after a change of address |
| put back | a call named the id with a former address, and Klaviyo put that back |
| stale queue | a queue of the shop's sent a former address |
| old address | a call gave a former address |
| browser | a browser sent a former address |
| shared phone | a phone number led Klaviyo to another customer's profile |
| merged address | a call gave the address of a profile that had been merged away |
| number | an id was sent as a number, or as an export spoils it |
| placeholder | a placeholder stood in place of an id or an address |
| spelling | an address was sent in two spellings |
| withdrawal | an unsubscription created the profile that it did not find |
| kept address | an event gave a new address, and Klaviyo did not take it over |
| takeover | an update by profile id wrote one customer onto another's profile |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from safeklaviyo.audit._diagnosis.bodies import CLIENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.audit._diagnosis.calls import Call, Named
    from safeklaviyo.audit._diagnosis.causes import Cause
    from safeklaviyo.audit._diagnosis.people import Part

_EARLIER: Final = "a call before this log"
_LATE: Final = 60.0
"""An event that is sent so many seconds after it happened has waited in one of the shop's queues."""
_WITHDRAWALS: Final = frozenset({"bulk_unsubscribe_profiles", "bulk_suppress_profiles"})
_UPDATES: Final = frozenset({"update_profile", "update_person"})


@dataclass(frozen=True, slots=True)
class Explained:
    """The name of a cause, the rule of `safeklaviyo` that prevents it, and one sentence."""

    situation: str
    rule: str
    sentence: str


_RULES: Final = {
    "5": "R7", "6": "R9", "race": "R4", "late event": "R10", "put back": "R5", "stale queue": "R11",
    "old address": "R11", "browser": "R11", "shared phone": "R14", "merged address": "R11", "number": "R1",
    "placeholder": "R1", "spelling": "R10", "withdrawal": "R19", "takeover": "R17", "kept address": "R6",
}  # fmt: skip
_SENTENCES: Final = {
    "5": "{other} gave the customer's address together with another id, so Klaviyo overwrote the id of that "
    "profile, and {last}, which gave the former id, made a second one",
    "6": "{first} named the customer by {first_by} alone and {last} by {last_by} alone, and Klaviyo could not"
    " know that both are one person",
    "race": "{one} and {two} looked for the same customer at the same moment, one by id and the other by "
    "email; both found nobody, and both created a profile",
    "race to an address": "{one} gave the customer a new address at the same moment at which {two} named the "
    "customer by it; {two} found nobody, and created a profile",
    "late event": "{one} was accepted at once but applied only after {two}, when the profile no longer had "
    "the address that it carried",
    "put back": "{other} named the customer's id with a former address, so Klaviyo put that address back, and"
    " {last}, which gave the new address, found nobody and made a second profile",
    "stale queue": "{last} was sent late, from a queue that still had the customer's former address, and "
    "Klaviyo made a second profile for it",
    "old address": "{last} gave an address that the customer no longer had after {change}, and Klaviyo made a"
    " second profile for it",
    "browser": "{last} came from a browser that still knew the customer by the address from before {change}, "
    "and Klaviyo made a second profile for it",
    "shared phone": "{other} carried a phone number that was already on the customer's profile, so Klaviyo "
    "handed this profile to somebody else, and {last} made a second one",
    "merged address": "{last} gave the address of a profile that {merge} had merged into another one, and "
    "Klaviyo created that profile again",
    "number": "{last} gave the customer's id in another form than {first}, as a number or as an export wrote "
    "it, and Klaviyo took it for another customer's",
    "placeholder": "{other} gave a placeholder where a customer's own value belongs, so Klaviyo took two "
    "customers for one, and {last} made a second profile",
    "spelling": "{last} gave the customer's address in another spelling than {first}, and Klaviyo took it for"
    " another address",
    "withdrawal": "{last} withdrew a consent by an address that no profile had, and Klaviyo created one for it",
    "kept address": "{change} gave the customer a new address by an event, Klaviyo kept the old one, and "
    "{last} made a second profile for the new one",
    "takeover": "{other} wrote one customer's identifiers onto the profile of another one, and {last} made a "
    "second profile",
    "": "{first} and {last} named the same customer, and Klaviyo kept two profiles",
}


def explained(cause: Cause) -> Explained:
    """Return the name of a cause, with its rule and its explanation."""
    facts = _Facts(cause)
    situation = facts.situation()
    to_an_address = situation == "race" and facts.is_race_to_an_address
    sentence = _SENTENCES["race to an address" if to_an_address else situation].format_map(facts.words())
    return Explained(situation, _RULES.get(situation, ""), sentence[:1].upper() + sentence[1:])


def words_of(call: Call) -> str:
    """Return the words for a call in a sentence: its place in the log and its path, without personal data (P8)."""
    source = f" of {call.source}" if call.source else ""
    return f"call {call.index}{source} ({call.method} {call.path})"


class _Facts:
    """What is known about the calls of a cause, and how they relate to each other."""

    def __init__(self, cause: Cause) -> None:
        self.cause = cause
        self.who = cause.twice.who
        parts = cause.stage.parts
        self.needed = [parts[number] for number in cause.plan.order]
        self.last = self.needed[-1]
        self.first = None if cause.twice.first is None else parts[cause.twice.first]
        self.own = [(part, row) for part in self.needed for row, who in part.rows if who == self.who]
        self.before = [
            {"phone_number": each.phone_number, "address": None if each.email is None else each.email.lower()}
            for each in cause.stage.before
            if each.who == self.who
        ]
        """The identifiers that the customer had before the log begins."""
        self.other: Part | None = None
        self.change: Part | None = None

    @property
    def is_race_to_an_address(self) -> bool:
        """Whether the customer had a profile before the two calls raced."""
        change = self.cause.change
        return change is not None and self.cause.twice.first not in {change.one, change.other}

    def situation(self) -> str:
        """Return the name of the situation; an empty text for none of them."""
        operator = None if self.cause.change is None else self.cause.change.operator
        if operator in {"racing", "earlier"}:
            return "race"
        if operator == "delayed" and self._by_email_change():
            return "late event"
        return next(self._names(), "late event" if operator == "delayed" else "")

    def _names(self) -> Iterator[str]:
        """Yield the situations that fit, the most special first."""
        # The order matters: most causes also look like an address and an id that were used apart (6).
        last = self._row_of(self.last)
        if self.cause.reading.deviates == "event_replaces_email" and self._by_email_change():
            yield "kept address"
        if any(part.call.merged for part in self.needed):
            yield "merged address"
        if self._is_in_two_forms():
            yield "number"
        if self._has_placeholder():
            yield "placeholder"
        if self._shares("phone_number"):
            yield "shared phone"
        if self.last.call.operation in _WITHDRAWALS:
            yield "withdrawal"
        if self._shares("address"):
            yield "takeover" if self.other is not None and self.other.call.operation in _UPDATES else "5"
        yield from self._of_addresses(last)

    def _of_addresses(self, last: Named | None) -> Iterator[str]:
        addresses = [row.address for _, row in self.own if row.address is not None]
        if last is None:
            return
        if self._by_email_change() and last.address in addresses[:-1]:
            # The customer had the address before. Either a call has put it back, or the last call used a former one.
            if self._is_put_back(last):
                yield "put back"
            yield self._of_former_address()
        if self._by_email_change() and self._is_put_back(last):
            yield "put back"
        spellings = {row.email for _, row in self.own if row.address == last.address and row.email is not None}
        if self.cause.reading.deviates == "email_case" and len(spellings) > 1:
            yield "spelling"
        if any(row.external_id is None or row.email is None for _, row in self.own):
            yield "6"

    def _of_former_address(self) -> str:
        if self.last.call.operation in CLIENT.values():
            return "browser"
        return "stale queue" if self._is_late() else "old address"

    def _row_of(self, part: Part) -> Named | None:
        return next((row for row, who in part.rows if who == self.who), None)

    def _by_email_change(self) -> bool:
        """Look for the call that gave the customer another address."""
        before: str | None = None
        for part, row in self.own:
            if row.address is not None and before is not None and row.address != before and part is not self.last:
                self.change = part
                return True
            before = row.address or before
        updates = [part for part, row in self.own if part.call.operation in _UPDATES and row.address is not None]
        self.change = next((part for part in updates if part is not self.last), None)
        return self.change is not None

    def _is_put_back(self, last: Named) -> bool:
        """Tell whether a call between gave the id together with another address than the last call's."""
        for part, row in reversed(self.own[:-1]):
            if row.address is not None:
                self.other = part
                earlier = {each.address for _, each in self.own[:-1]}
                return row.external_id is not None and row.address != last.address and last.address in earlier
        return False

    def _is_late(self) -> bool:
        call = self.last.call
        if call.happened is None or call.time is None:
            return False
        changed = None if self.change is None or self.change.call.time is None else self.change.call.time.timestamp()
        return call.time.timestamp() - call.happened > _LATE or (changed is not None and call.happened < changed)

    def _is_in_two_forms(self) -> bool:
        forms = {(row.external_id, row.is_number) for _, row in self.own if row.key is not None}
        texts = {text for text, _ in forms}
        return len(texts) > 1 or (self.cause.reading.number_is_another and len(forms) > 1)

    def _has_placeholder(self) -> bool:
        for part in self.needed:
            for row, _ in part.rows:
                if row.placeholder:
                    self.other = part
        return self.other is not None

    def _shares(self, kind: str) -> bool:
        """Look for a call about another person that gave one of this customer's identifiers."""
        own = {getattr(row, kind) for _, row in self.own} | {each[kind] for each in self.before}
        for part in self.needed:
            for row, who in part.rows:
                if who != self.who and getattr(row, kind) in own - {None}:
                    self.other = part
                    return True
        return False

    def words(self) -> dict[str, str]:
        """Return the words that stand in the braces of a sentence."""
        change = self.cause.change
        parts = self.cause.stage.parts
        merge = next((part for part in self.needed if part.call.merged), self.last)
        first = self.first or self.last
        return {
            "first": _EARLIER if self.first is None else words_of(self.first.call),
            "last": words_of(self.last.call),
            "other": words_of((self.other or first).call),
            "change": words_of((self.change or first).call),
            "merge": words_of(merge.call),
            "one": words_of(parts[change.one].call if change else first.call),
            "two": words_of(parts[change.other].call if change else self.last.call),
            "first_by": _by(None if self.first is None else self._row_of(self.first)),
            "last_by": _by(self._row_of(self.last)),
        }


def _by(row: Named | None) -> str:
    return "id" if row is not None and row.external_id is not None else "email"
