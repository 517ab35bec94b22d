"""The questions about identities that Klaviyo leaves open, and how a row is read under each answer.

Decided here: which questions may matter for some calls. The answers are those of the simulator's `Readings`. One more
question is asked here (F-9), because the simulator always gives the answer that was recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo.audit._diagnosis.bodies import READS
from safeklaviyo.audit._diagnosis.endpoints import SYNCHRONOUS, UNDOING
from safeklaviyo.testing.simulator.persons import Person
from safeklaviyo.testing.simulator.readings import Readings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from safeklaviyo.audit._diagnosis.calls import Call, Named
    from safeklaviyo.audit._diagnosis.people import Part

NUMBER: Final = " (a number)"
"""Added to an id that was sent as a number, if a reading takes it for another id."""
BY_EVENTS: Final = frozenset({"event_conflict", "event_email_first", "event_replaces_email"})
"""The questions that come up at single events. A replay tells whether they came up."""
_CUT: Final = 64
_ANSWERS: Final[dict[str, tuple[Any, ...]]] = {
    "event_conflict": ("merge", "keep"),
    "event_email_first": (True,),
    "event_replaces_email": (False,),
    "email_case": ("kept", "distinct"),
    "external_id_unique_on_create": (False, "dropped"),
    "external_ids_cut_at": (_CUT,),
    "withdrawal_creates": (False,),
    "merged_id": ("alias",),
    "deletion_matches": ("when_asked",),
}
"""The questions of `Readings` that matter for identities, each with its unusual answers."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer to each question.

    Attributes:
        readings: The answers to the simulator's questions.
        number_is_another: An id that is sent as a number is another id than its text (F-9).
        deviates: The question with an unusual answer; None if all answers are usual.
    """

    readings: Readings = field(default_factory=Readings)
    number_is_another: bool = False
    deviates: str | None = None

    def words(self, name: str) -> str:
        """Return the answer to a question, as a sentence."""
        if name == "number_is_another":
            taken = "another id than" if self.number_is_another else "the same id as"
            return f"reading: Klaviyo takes an id that is sent as a number for {taken} its text"
        answer = getattr(self.readings, name)
        return f"reading: Klaviyo has not confirmed {name}, and {answer!r} is taken for its answer"


USUAL: Final = Reading()


def other_readings(parts: Sequence[Part]) -> Iterator[Reading]:
    """Yield the readings that may matter for some calls. Each has one unusual answer."""
    asked = set(_questions(parts))
    for name, answers in _ANSWERS.items():
        if name in asked:
            for answer in answers:
                changed: dict[str, Any] = {name: answer}
                yield Reading(replace(Readings(), **changed), deviates=name)
    ids = {(row.external_id, row.is_number) for part in parts for row, _ in part.rows if row.external_id is not None}
    if len(ids) > len({text for text, _ in ids}):
        yield Reading(number_is_another=True, deviates="number_is_another")


def _questions(parts: Sequence[Part]) -> Iterator[str]:
    operations = {part.call.operation for part in parts}
    rows = [row for part in parts for row, _ in part.rows]
    if operations - SYNCHRONOUS - READS - UNDOING:
        yield from BY_EVENTS
    emails = {row.email for row in rows if row.email is not None}
    if len(emails) > len({email.lower() for email in emails}):
        yield "email_case"
    if "create_profile" in operations:
        yield "external_id_unique_on_create"
    if any(row.external_id is not None and len(row.external_id) > _CUT for row in rows):
        yield "external_ids_cut_at"
    if operations & {"bulk_unsubscribe_profiles", "bulk_suppress_profiles"}:
        yield "withdrawal_creates"
    if "merge_profiles" in operations:
        yield "merged_id"
    if "request_profile_deletion" in operations:
        yield "deletion_matches"


def person_of(call: Call, row: Named, reading: Reading) -> Person:
    """Return the person of a row, as Klaviyo stores them under a reading."""
    readings = reading.readings
    external_id = row.external_id
    if external_id is not None:
        external_id = external_id[: readings.external_ids_cut_at]
        if reading.number_is_another and row.is_number:
            external_id += NUMBER
    email = row.email.lower() if row.email is not None and readings.email_case == "lowered" else row.email
    given = {"external_id": external_id, "email": email, "phone_number": row.phone_number}
    # In events and in bulk jobs a null means nothing. In the synchronous calls it clears an identifier.
    clears = row.clears if call.operation in SYNCHRONOUS else frozenset[str]()
    identifiers: dict[str, str | None] = {
        kind: value for kind, value in given.items() if value is not None or kind in clears
    }
    return Person(row.profile_id, identifiers, anonymous_id=row.anonymous_id)
