"""Klaviyo's refusals as errors: the class for a status, its message, and how long to wait.

Decided here: what an error says and holds, in both dialects. The message has no personal data (P8). Not here: what may
be repeated (`_sending.failures`).
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo._api.responses import fields_of, is_profile_id, listed_errors
from safeklaviyo.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    GoneError,
    NotFoundError,
    Outcome,
    PayloadTooLargeError,
    PermissionDeniedError,
    ProfileConflictError,
    RateLimitError,
    ServerError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from safeklaviyo._api.messages import Response

ERRORS: Final[dict[int, type[APIStatusError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ProfileConflictError,
    410: GoneError,
    413: PayloadTooLargeError,
    422: BadRequestError,
    429: RateLimitError,
}
"""The error of each status. Any other from 500 on is a `ServerError`, and all the rest are an `APIStatusError`."""

_ADVICE: Final = {
    400: "Klaviyo does not accept the request; see the error's errors",
    401: "Klaviyo does not accept the API key, or the access token; check it",
    403: "the API key may not do this; check its scopes",
    404: "Klaviyo has nothing of that id, or at that path",
    409: "something has that already: a profile its identifier, or another thing its name",
    410: 'this API is retired; use dialect="current" and a current revision',
    413: "the request is larger than Klaviyo accepts; send less",
    429: "too many requests; try again later",
}

_CODE = re.compile(r"[a-z][a-z_]{0,49}")
_POINTER = re.compile(r"(?:/(?:[a-z_-]{1,40}|\d{1,4})){1,12}/?|/")
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_EXPECTED = re.compile(r"Expected available in (\d{1,9}(?:\.\d{1,9})?) second", re.ASCII)
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_REQUEST_ID_HEADERS: Final = ("x-klaviyo-req-id", "x-klaviyo-request-id", "cf-ray")


def duplicate_profile_id(response: Response) -> str | None:
    """Return the id of the profile that a 409 names as the owner of an identifier; Klaviyo may leave the id out."""
    for error in _errors(response.json):
        owner = fields_of(error.get("meta")).get("duplicate_profile_id")
        if is_profile_id(owner):
            return owner
    return None


def error_from(response: Response, *, outcome: Outcome, now: float | None = None) -> APIStatusError:
    """Return the error for an answer.

    The error's message has no personal data (P8). Klaviyo's own text may quote what was sent, and is in `errors` only.

    Args:
        now: Unix seconds, for a ``Retry-After`` that is a date.
    """
    status = response.status
    errors = _errors(response.json)
    code = errors[0].get("code") if errors else None
    common: dict[str, Any] = {
        "status_code": status,
        "code": code if isinstance(code, str) else None,
        "errors": errors,
        "request_id": _request_id(response, errors),
        "outcome": outcome,
        "retry_after": _wait(response, errors, now),
    }
    message = _message(status, errors)
    codes = {error.get("code") for error in errors} - {None}  # a 409 about another thing than a profile has another
    if status == HTTPStatus.CONFLICT and (not codes or "duplicate_profile" in codes):
        return ProfileConflictError(message, profile_id=duplicate_profile_id(response), rule="R17", **common)
    kind = APIStatusError if status == HTTPStatus.CONFLICT else error_class(status)
    return kind(message, **common)


def error_class(status: int) -> type[APIStatusError]:
    """Return the class of the error for a status."""
    return ERRORS.get(status, ServerError if status >= 500 else APIStatusError)


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return how many seconds to wait; None if the header is missing or cannot be read.

    Args:
        headers: By lower-case name.
        now: Unix seconds; without it a date cannot be read.
    """
    # In seconds, with decimals, or as a date (F-20).
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    if now is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _errors(body: object) -> tuple[dict[str, Any], ...]:
    fields = fields_of(body)
    if "errors" in fields:
        return listed_errors(body)
    # The legacy API answers with one object: {"status": 403, "message": …} or {"detail": …}.
    return (fields,) if fields else ()


def _message(status: int, errors: tuple[dict[str, Any], ...]) -> str:
    advice = _ADVICE.get(status, "Klaviyo failed" if status >= 500 else "Klaviyo gave an unexpected answer")
    return " ".join([f"{advice} ({status}", *_particulars(errors)]) + ")"


def _particulars(errors: tuple[dict[str, Any], ...]) -> Iterator[str]:
    for error in errors[:1]:
        code = error.get("code")
        if isinstance(code, str) and _CODE.fullmatch(code):
            yield code
        pointer = fields_of(error.get("source")).get("pointer")
        # `_POINTER` takes no longer number and no capital, because these could be part of a value that was sent (P8).
        if isinstance(pointer, str) and _POINTER.fullmatch(pointer):
            yield f"at {pointer}"


def request_id(response: Response) -> str | None:
    """Return Klaviyo's id of a request that succeeded, where the answer names it."""
    return _request_id(response, ())


def _request_id(response: Response, errors: tuple[dict[str, Any], ...]) -> str | None:
    named = errors[0].get("id") if errors else None
    headers = (response.headers.get(name) for name in _REQUEST_ID_HEADERS)
    for candidate in (named, *headers):
        # It is logged, so it must look like an id: a longer text could have personal data in it (P8).
        if isinstance(candidate, str) and _REQUEST_ID.fullmatch(candidate):
            return candidate
    return None


def _wait(response: Response, errors: tuple[dict[str, Any], ...], now: float | None) -> float | None:
    seconds = retry_after(response.headers, now)
    if seconds is None and response.status == HTTPStatus.TOO_MANY_REQUESTS and errors:
        # The legacy API has the seconds in its text only.
        said = _EXPECTED.search(str(errors[0].get("detail")))
        return float(said[1]) if said else None
    return seconds
