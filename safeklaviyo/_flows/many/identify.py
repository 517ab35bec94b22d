"""`identify_many`: known customers in imports by profile id without identifiers, all others as `identify` writes them.

An import clears nothing, so a row that clears goes singly. Klaviyo carries an import out later; its errors are asked
for at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo._api.bodies import MAX_PROFILE_BYTES, repeat_of
from safeklaviyo._api.bulk import (
    ROOM,
    get_import,
    get_import_errors,
    import_profiles,
    next_errors,
    profile_row,
    read_failures,
    read_import_errors,
    read_job_id,
)
from safeklaviyo._api.messages import Repeat
from safeklaviyo._flows.call import Call, Setup, logger, run, send
from safeklaviyo._flows.deadlines import start_deadline
from safeklaviyo._flows.identity.reads import understood
from safeklaviyo._flows.many.rows import (
    Batch,
    Refused,
    goes_singly,
    rehearsed,
    row_from,
    send_patiently,
    shown_row,
    sorted_by_map,
    take_in,
)
from safeklaviyo._flows.verbs.identify import identified
from safeklaviyo._flows.verbs.person import claim_of
from safeklaviyo._flows.waiting import poll
from safeklaviyo._input.findings import Findings, refused
from safeklaviyo._input.properties import combine, person_from
from safeklaviyo.errors import (
    APIConnectionError,
    APIStatusError,
    BadRequestError,
    NoResponseError,
    SafeKlaviyoError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from safeklaviyo._effects import Flow
    from safeklaviyo._input.properties import Person
    from safeklaviyo.identity import Claim
    from safeklaviyo.models import Binding, IdentifyResult

_FIRST_LOOK: Final = 0.5
_LONGEST_LOOK: Final = 10.0
_KEYS: Final = frozenset({"properties", "external_id", "email", "phone_number", "append", "unappend", "unset"})


@dataclass(frozen=True, slots=True, repr=False)
class PersonRow:
    """One person of many, checked."""

    number: int
    row: Mapping[str, Any]
    claim: Claim
    person: Person


def identify_batch(setup: Setup, rows: Iterable[tuple[int, object]]) -> Flow[Batch[PersonRow]]:
    """Write onto the profiles of known customers together. See `Klaviyo.identify_many`."""
    return run(setup, "identify_many", lambda call: _identify_batch(call, rows))


def identify_row(setup: Setup, row: PersonRow) -> Flow[IdentifyResult]:
    """Write onto one profile as `identify` does."""
    return run(setup, "identify_many", lambda call: identified(call, row.claim, row.person))


def import_errors(setup: Setup, job_id: str, rows: list[PersonRow]) -> Flow[list[Refused]]:
    """Wait for an import, at most `Policy.consent_wait`, and return the rows that Klaviyo has refused."""
    return run(setup, "identify_many", lambda call: _import_errors(call, job_id, rows))


def rehearse_people(setup: Setup, rows: Iterable[tuple[int, object]]) -> Flow[Batch[PersonRow]]:
    """Tell which people would be written and which refused, by the rows and the map alone."""

    def _body(call: Call) -> Flow[Batch[PersonRow]]:
        batch: Batch[PersonRow] = Batch()
        yield from rehearsed(call, _check(call, rows, batch), batch)
        return batch

    return run(setup, "identify_many", _body)


def _identify_batch(call: Call, rows: Iterable[tuple[int, object]]) -> Flow[Batch[PersonRow]]:
    batch: Batch[PersonRow] = Batch()
    # Step 1: check each row. A refused row does not stop the others.
    checked = _check(call, rows, batch)
    # Step 2: what an import cannot say goes singly: a number to attach (R14), a property to clear.
    warm, batch.cold = yield from sorted_by_map(call, checked)
    together: list[tuple[PersonRow, Binding]] = []
    for row, binding in warm:
        if _fits_import(row, binding):
            together.append((row, binding))
        else:
            batch.singly.append(row)
    # Step 3: send, in as many requests as Klaviyo's limits ask for.
    for job in _jobs(together, batch):
        yield from _send(call, job, batch)
    return batch


def _check(call: Call, rows: Iterable[tuple[int, object]], batch: Batch[PersonRow]) -> list[PersonRow]:
    checked: list[PersonRow] = []
    for number, row in rows:
        try:
            checked.append(_checked(call, number, row))
        except SafeKlaviyoError as error:
            batch.refused.append(Refused(number, shown_row(row), error))
    return checked


def _checked(call: Call, number: int, row: object) -> PersonRow:
    given = row_from(row, _KEYS)
    findings = Findings()
    person, who = person_from(
        given.get("properties"),
        findings,
        append=given.get("append"),
        unappend=given.get("unappend"),
        unset=given.get("unset"),
    )
    who = combine(
        who,
        findings,
        external_id=given.get("external_id"),
        email=given.get("email"),
        phone_number=given.get("phone_number"),
    )
    take_in(call, findings)
    return PersonRow(number, given, claim_of(call, who), person)


def _fits_import(row: PersonRow, binding: Binding) -> bool:
    claim, person = row.claim, row.person
    clears = None in person.attributes.values() or None in person.properties.values()
    location: dict[str, Any] = person.attributes.get("location") or {}
    has_other_phone = claim.unusable_phone or claim.phone_number not in {None, binding.phone_number}
    return not (clears or has_other_phone or person.is_empty or None in location.values())


def _jobs(rows: list[tuple[PersonRow, Binding]], batch: Batch[PersonRow]) -> Iterator[list[tuple[PersonRow, bytes]]]:
    """Split rows into requests that Klaviyo takes; one that is too large for a profile is refused."""
    job: list[tuple[PersonRow, bytes]] = []
    size = 0
    for row, binding in rows:
        text = profile_row(binding, row.person)
        if len(text) > MAX_PROFILE_BYTES:
            error = refused("properties", "are larger than the 100 KB that Klaviyo accepts for a profile")
            batch.refused.append(Refused(row.number, row.row, error))
            continue
        if job and size + len(text) + 1 > ROOM:
            yield job
            job, size = [], 0
        job.append((row, text))
        size += len(text) + 1
    if job:
        yield job


def _send(call: Call, job: list[tuple[PersonRow, bytes]], batch: Batch[PersonRow]) -> Flow[None]:
    rows = [row for row, _ in job]
    # A list that a row appends to could get a value twice (F-19).
    once = any(repeat_of(row.person, Repeat.IDEMPOTENT) is Repeat.ONCE for row in rows)
    request = import_profiles((text for _, text in job), repeat=Repeat.ONCE if once else Repeat.IDEMPOTENT)
    try:
        response = yield from send_patiently(call, request)
    except SafeKlaviyoError as error:
        if not goes_singly(error):
            raise
        for row in rows:
            may_double = repeat_of(row.person, Repeat.IDEMPOTENT) is Repeat.ONCE and error.outcome == "unknown"
            if may_double:
                batch.refused.append(Refused(row.number, row.row, error))
            else:
                batch.singly.append(row)
        return
    batch.accepted += len(rows)
    try:
        batch.jobs.append((understood(read_job_id, response), rows))
    except NoResponseError:
        call.notice("answer_unreadable", None, "Klaviyo has accepted an import, but its job could not be read")


def _import_errors(call: Call, job_id: str, rows: list[PersonRow]) -> Flow[list[Refused]]:
    # Klaviyo has accepted the rows: that its errors cannot be read must not be told as a failure of them.
    found: list[Refused] = []
    try:
        if (yield from _has_failures(call, job_id)):
            yield from _read_errors(call, job_id, rows, found)
    except (APIConnectionError, APIStatusError) as error:
        logger.warning("identify_many: the errors of an import could not be read: %s", type(error).__name__)
    return found


def _has_failures(call: Call, job_id: str) -> Flow[bool]:
    """Wait until an import is done, and tell whether rows of it have failed."""
    failed: int | None = None

    def _is_done() -> Flow[bool]:
        nonlocal failed
        yield from start_deadline(call)
        failed = understood(read_failures, (yield from send(call, get_import(job_id))))
        return failed is not None

    yield from poll(call, _is_done, seconds=call.policy.consent_wait, pause=_FIRST_LOOK, longest=_LONGEST_LOOK)
    if failed is None:
        logger.warning("identify_many: an import is not done yet; Klaviyo shows its errors under Lists and Segments")
    return bool(failed)


def _read_errors(call: Call, job_id: str, rows: list[PersonRow], found: list[Refused]) -> Flow[None]:
    """Read the failed rows of an import, page by page; no more pages than it can have."""
    request = get_import_errors(job_id)
    # Each page has one failed row at least, so an import has no more pages than rows. Links that lead back end here.
    for _ in range(len(rows)):
        response = yield from send(call, request)
        for index, error in read_import_errors(response):
            code = error.get("code")
            problem = BadRequestError(
                "Klaviyo has refused this row of an import; errors says why", status_code=400,
                code=code if isinstance(code, str) else None, errors=(error,),
            )  # fmt: skip
            # The index comes from a pointer in Klaviyo's answer, which may point elsewhere.
            if index is not None and index < len(rows):
                found.append(Refused(rows[index].number, rows[index].row, problem))
        query = next_errors(response)
        if query is None:
            return
        request = get_import_errors(job_id, query)
