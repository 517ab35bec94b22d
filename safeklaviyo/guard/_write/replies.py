"""What the guard answers in Klaviyo's place: Klaviyo's own forms, so that no caller has to learn another one.

A refusal also has ``meta.safeklaviyo`` with the rule and the reason. It holds no identifier of a person.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from json import dumps
from math import ceil
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from safeklaviyo.errors import (
    APIStatusError,
    ConsentWithdrawnError,
    EmailMismatchError,
    IdentityError,
    IdOnlyError,
    InvalidIdentifierError,
    InvalidPropertyError,
    ProfileNotVisibleError,
    SafeKlaviyoError,
)
from safeklaviyo.guard._parse.spans import EACH, Array, Object, scan
from safeklaviyo.guard._write.edits import Edits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from safeklaviyo.guard._parse.asked import Problem
    from safeklaviyo.guard._parse.spans import Shape

CONTENT_TYPE: Final = "application/vnd.api+json"
_TITLES: Final = {
    400: ("invalid", "Invalid input."),
    404: ("not_found", "Not found."),
    409: ("duplicate_profile", "Conflict."),
    413: ("payload_too_large", "Payload too large."),
    415: ("unsupported_media_type", "Unsupported media type."),
    429: ("throttled", "Request was throttled."),
    503: ("service_unavailable", "Service unavailable."),
}
_TAKEN: Final = "A profile already exists with one of these identifiers."
_NOT_FOUND: Final = "A profile with this id does not exist."
_RELAYED: Final = frozenset({400, 401, 403, 410, 413, 422})
_LONGEST_WAIT: Final = 600
_MOST_ERRORS: Final = 100
_ERRORS: Final[Shape] = {"errors": {EACH: {"meta": {}}}}


@dataclass(slots=True, repr=False)
class Reply:
    """An answer, as it goes to the caller.

    Attributes:
        status: The HTTP status.
        headers: In their order, names as they came.
    """

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Fault:
    """One reason why a request is refused.

    Attributes:
        status: The HTTP status of a refusal for this reason alone.
        reason: Why, in one sentence.
        rule: The rule that refuses; None if none does.
        pointer: The place in the body.
        detail: Klaviyo's own sentence, where Klaviyo has one for this reason.
        meta: Further members of the error's ``meta``, as Klaviyo would give them.
        wait: Seconds after which the same call may succeed, for 429 and 503.
    """

    status: int
    reason: str
    rule: str | None = None
    pointer: str = "/data/attributes"
    detail: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    wait: float | None = None


def accepted() -> Reply:
    """Return the receipt of a request that Klaviyo answers without a document."""
    return Reply(202, (("content-length", "0"),), b"")


def document(status: int, data: Mapping[str, Any]) -> Reply:
    """Return a document."""
    return _json(status, {"data": data})


def refused(faults: Iterable[Fault]) -> Reply:
    """Return a refusal for one or more faults."""
    # An answer has one status. Faults with several statuses share none, so they make a 400.
    listed = list(faults)[:_MOST_ERRORS]
    statuses = {fault.status for fault in listed}
    status = statuses.pop() if len(statuses) == 1 else 400
    waits = [_wait(fault) for fault in listed if fault.status in {429, 503}]
    headers = (("retry-after", str(max(waits))),) if waits and status in {429, 503} else ()
    return _json(status, {"errors": [_error(status, fault) for fault in listed]}, headers)


def fault_of(error: SafeKlaviyoError, pointer: str = "/data") -> Fault:
    """Return the fault for an error that a flow has raised.

    Args:
        error: The error.
        pointer: The place of the person in the body.
    """
    status = _status(error)
    where, detail, meta = pointer, None, dict[str, Any]()
    if status == 400 and isinstance(error, IdentityError):
        kind = "external_id" if isinstance(error, IdOnlyError) else getattr(error, "identifier_kind", None)
        where += "" if kind is None else "/id" if kind == "profile_id" else f"/attributes/{kind}"
    elif status == 400:
        where += "/attributes"
    elif status == 409:
        where, detail, meta = f"{pointer}/attributes", _TAKEN, _own_profile(error)
    elif status == 404:
        detail = _NOT_FOUND
    return Fault(status, str(error), error.rule, where, detail, meta, error.retry_after)


def _status(error: SafeKlaviyoError) -> int:
    """Return the status with which Klaviyo would refuse; 503 if the same call may succeed later."""
    if isinstance(error, IdOnlyError | InvalidIdentifierError | ConsentWithdrawnError | InvalidPropertyError):
        return 400
    if isinstance(error, ProfileNotVisibleError):
        return 503
    if isinstance(error, APIStatusError):
        return error.status_code if error.status_code in _RELAYED | {404, 409, 429} else 503
    return 409 if isinstance(error, IdentityError) and not error.may_retry else 503


def _own_profile(error: SafeKlaviyoError) -> dict[str, Any]:
    """Return what Klaviyo's 409 would name: the profile, but only if it is that of the customer who was named."""
    # R5 and R6 speak about the customer's own binding. Under R7 the profile is another customer's, and shipped code
    # writes to the profile that a 409 names (F-1).
    if isinstance(error, EmailMismatchError) and error.rule in {"R5", "R6"} and error.profile_id is not None:
        return {"duplicate_profile_id": error.profile_id}
    return {}


def klaviyos_refusal(error: SafeKlaviyoError) -> Reply | None:
    """Return Klaviyo's own refusal of a request that the guard had sent first; None if Klaviyo has not refused."""
    if not isinstance(error, APIStatusError) or not error.errors or error.status_code not in _RELAYED:
        return None
    return _json(error.status_code, {"errors": list(error.errors)})


def fault_of_problem(problem: Problem) -> Fault:
    """Return the fault of a body that cannot be understood."""
    return Fault(problem.status, problem.reason, None, problem.pointer)


def taken(profile_id: str, rule: str | None) -> Reply:
    """Return Klaviyo's answer to a create of a customer who has a profile, with that customer's own profile."""
    reason = "the customer has a profile already"
    return refused([Fault(409, reason, rule, "/data/attributes", _TAKEN, {"duplicate_profile_id": profile_id})])


def without_owner(reply: Reply, *, own: frozenset[str]) -> Reply:
    """Return Klaviyo's 409 without the id of another customer's profile.

    Shipped code writes to the profile that a 409 names (F-1).

    Args:
        reply: Klaviyo's answer.
        own: The ids of the profiles that the request is about. These stay in the answer.
    """
    try:
        text = reply.body.decode()
        root, _ = scan(text, _ERRORS)
    except (ValueError, RecursionError):
        return reply
    listed = root.get("errors") if isinstance(root, Object) else None
    edits = Edits(text)
    for error in listed.elements if isinstance(listed, Array) else ():
        meta = error.opened("meta") if isinstance(error, Object) else None
        if meta is not None and "duplicate_profile_id" in meta.members and meta.get("duplicate_profile_id") not in own:
            edits.change(meta, drop=("duplicate_profile_id",))
    return reply if edits.are_none else with_body(reply, edits.text().encode())


def with_body(reply: Reply, body: bytes) -> Reply:
    """Return a reply with another body, and with that body's length in its headers."""
    kept = [header for header in reply.headers if header[0].lower() not in {"content-length", "content-encoding"}]
    return Reply(reply.status, (*kept, ("content-length", str(len(body)))), body)


def _wait(fault: Fault) -> int:
    # A whole number, at least 1: the official SDK reads the header with `int`.
    return max(1, min(ceil(fault.wait or 1.0), _LONGEST_WAIT))


def _error(status: int, fault: Fault) -> dict[str, Any]:
    code, title = _TITLES.get(fault.status, _TITLES[400])
    return {
        "id": str(uuid4()),
        "status": status,
        "code": code,
        "title": title,
        "detail": fault.detail or fault.reason,
        "source": {"pointer": fault.pointer},
        "links": {},
        "meta": {**fault.meta, "safeklaviyo": {"rule": fault.rule, "reason": fault.reason}},
    }


def _json(status: int, content: Mapping[str, Any], headers: Sequence[tuple[str, str]] = ()) -> Reply:
    body = dumps(content, separators=(",", ":")).encode()
    return Reply(status, (("content-type", CONTENT_TYPE), ("content-length", str(len(body))), *headers), body)
