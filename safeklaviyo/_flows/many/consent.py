"""`subscribe_many`, `unsubscribe_many`, `suppress_many`: the verb about one person for each row, the requests joined.

Customers that the map knows travel together (`together`). All others go one by one, as the verb about one person sends
them. Rules and leases are that verb's own (R18, R19). A row of a withdrawal that contradicts the map is refused here.
If too many of the first rows contradict it, no request is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from safeklaviyo._flows.call import run
from safeklaviyo._flows.joining import Joins
from safeklaviyo._flows.many.rows import Batch, Refused, known_to_map, row_from, shown_row, sorted_by_map
from safeklaviyo._flows.many.together import Together
from safeklaviyo._flows.verbs.subscribe import require_consent, subscribe
from safeklaviyo._flows.verbs.unsubscribe import suppress, unsubscribe
from safeklaviyo._input.phones import phone_number_from
from safeklaviyo._rules.claims import claim_from
from safeklaviyo._rules.contradictions import are_too_many, contradiction, wrong_file
from safeklaviyo.errors import SafeKlaviyoError
from safeklaviyo.identity import Claim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call, Setup
    from safeklaviyo.consent import ConsentChange

_WITHDRAWN: Final = {"channels": None, "external_id": None, "email": None, "phone_number": None, "list_id": None}
_GIVEN: Final = _WITHDRAWN | {
    "consented_at": None, "historical": False, "source": None, "resubscribe": False, "date_of_birth": None,
}  # fmt: skip
_SUPPRESSED: Final = {"external_id": None, "email": None}


@dataclass(frozen=True, slots=True, repr=False)
class ConsentRow:
    """One person of many.

    Attributes:
        arguments: Those of the verb about one person.
    """

    number: int
    row: Mapping[str, Any]
    claim: Claim
    arguments: dict[str, Any]


Verb: TypeAlias = "Callable[[Setup, ConsentRow], Flow[ConsentChange]]"


def subscribe_batch(setup: Setup, rows: Iterable[tuple[int, object]]) -> Flow[Batch[ConsentRow]]:
    """Subscribe people whom the map knows together. See `Klaviyo.subscribe_many`."""
    return run(setup, "subscribe_many", lambda call: _give(call, rows))


def subscribe_row(setup: Setup, row: ConsentRow) -> Flow[ConsentChange]:
    """Subscribe one person as `subscribe` does."""
    return subscribe(setup, **row.arguments)


def unsubscribe_batch(setup: Setup, rows: Iterable[tuple[int, object]]) -> Flow[Batch[ConsentRow]]:
    """Withdraw the consent of people whom the map knows together. See `Klaviyo.unsubscribe_many`."""
    return run(setup, "unsubscribe_many", lambda call: _withdraw(call, rows, _WITHDRAWN, unsubscribe_row))


def unsubscribe_row(setup: Setup, row: ConsentRow) -> Flow[ConsentChange]:
    """Withdraw one person's consent as `unsubscribe` does."""
    return unsubscribe(setup, **row.arguments)


def suppress_batch(setup: Setup, rows: Iterable[tuple[int, object]]) -> Flow[Batch[ConsentRow]]:
    """Suppress people whom the map knows together. See `Klaviyo.suppress_many`."""
    return run(setup, "suppress_many", lambda call: _withdraw(call, rows, _SUPPRESSED, suppress_row))


def suppress_row(setup: Setup, row: ConsentRow) -> Flow[ConsentChange]:
    """Suppress one person as `suppress` does."""
    return suppress(setup, **row.arguments)


def _give(call: Call, rows: Iterable[tuple[int, object]]) -> Flow[Batch[ConsentRow]]:
    require_consent(call)
    batch: Batch[ConsentRow] = Batch()
    checked = _checked(call, rows, _GIVEN, batch)
    # A number alone says nothing to the map.
    warm, batch.cold = yield from sorted_by_map(call, [row for row in checked if row.claim.identifiers()])
    batch.cold += [row for row in checked if not row.claim.identifiers()]
    yield from _send(call, [row for row, _ in warm], subscribe_row, batch)
    return batch


def _withdraw(
    call: Call, rows: Iterable[tuple[int, object]], arguments: Mapping[str, object], verb: Verb
) -> Flow[Batch[ConsentRow]]:
    require_consent(call)
    batch: Batch[ConsentRow] = Batch()
    given = list(rows)
    # Step 1: check each row, and what the map says of it.
    checked = _checked(call, given, arguments, batch)
    of_map = yield from known_to_map(call, checked)
    known: list[ConsentRow] = []
    contradicting = 0
    for row in checked:
        found = of_map.of(row)
        error = contradiction(row.claim, found, call.policy)
        if error is not None:
            contradicting += 1
            error.operation = call.operation
            batch.refused.append(Refused(row.number, row.row, error))
        elif found.matches:
            known.append(row)
        else:
            batch.cold.append(row)
    # Step 2: a file that is wrong as a whole withdraws no one's consent, not even that of rows which look right.
    if given[0][0] == 0 and are_too_many(contradicting, len(given)):
        batch.cold.clear()
        batch.stops = wrong_file(contradicting, len(given))
        return batch
    # Step 3: withdraw.
    yield from _send(call, known, verb, batch)
    return batch


def _send(call: Call, rows: list[ConsentRow], verb: Verb, batch: Batch[ConsentRow]) -> Flow[None]:
    together = Together(call, batch)
    # The verbs are told that their requests may be joined. They then hand a request over in place of sending it.
    setup = replace(call.setup, joins=Joins())
    for row in rows:
        yield from together.begin(row, verb(setup, row))
    yield from together.finish()


def _checked(
    call: Call, rows: Iterable[tuple[int, object]], arguments: Mapping[str, object], batch: Batch[ConsentRow]
) -> list[ConsentRow]:
    checked: list[ConsentRow] = []
    for number, row in rows:
        try:
            given = {**arguments, **row_from(row, frozenset(arguments))}
            checked.append(ConsentRow(number, shown_row(row), _claim(call, given), given))
        except SafeKlaviyoError as error:
            error.operation = call.operation
            batch.refused.append(Refused(number, shown_row(row), error))
    return checked


def _claim(call: Call, given: Mapping[str, Any]) -> Claim:
    """Return who is meant, to look into the map; the verb checks it again, with the rest of the row."""
    external_id, email, phone_number = given["external_id"], given["email"], given.get("phone_number")
    if external_id is None and email is None and phone_number is not None:
        return Claim(phone_number=phone_number_from(phone_number, call.policy.phone_region))
    return claim_from(external_id, email, phone_number, call.policy)
