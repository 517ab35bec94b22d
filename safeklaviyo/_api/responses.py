"""Reading Klaviyo's answers: profiles with tolerance, identifiers strictly, and refusals as errors.

Decided here: how a body becomes a `Profile` or an error, in both dialects. An answer that cannot be read raises
`UnreadableAnswer`; the flow that sent the request decides what follows. Not here: building requests (`profiles`,
`events`).
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast
from urllib.parse import urlsplit

from pydantic import ValidationError

from safeklaviyo._api.messages import Answer
from safeklaviyo._api.paths import PROFILES_PATH
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
from safeklaviyo.models import Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from safeklaviyo._api.messages import Endpoint, Response

logger = logging.getLogger("safeklaviyo")

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
_ACCOUNT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PROFILE_ID = re.compile(r"[A-Za-z0-9]{1,64}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_REQUEST_ID_HEADERS: Final = ("x-klaviyo-req-id", "x-klaviyo-request-id", "cf-ray")
_IDENTIFYING: Final = ("external_id", "email", "phone_number")


class UnreadableAnswer(Exception):  # noqa: N818 - an answer is no error: the request may well have succeeded
    """Klaviyo answered with success, but the body does not have what was asked for."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of profiles.

    Attributes:
        next_path: The path of the next page, for `list_profiles`; None after the last page.
    """

    profiles: tuple[Profile, ...]
    next_path: str | None = None


def is_success(status: int) -> bool:
    """Tell whether a status means that Klaviyo carried the request out, or accepted it for later."""
    return 200 <= status < 300


def is_from_klaviyo(endpoint: Endpoint, response: Response) -> bool:
    """Tell whether Klaviyo itself gave an answer, rather than something between it and this host (F-34).

    Klaviyo's own answers are

    - what the endpoint is documented to answer on success;
    - an error document, which names a code (`error_from`).

    A web page, a challenge, a redirect or half a body is none, with any status. Sources: Klaviyo's OpenAPI description;
    its guide on errors; recorded answers.
    """
    # The status alone proves nothing: a proxy can give any.
    if is_success(response.status):
        return _SUCCESSES[endpoint.answer](response)
    if response.status < HTTPStatus.BAD_REQUEST:
        return False
    if endpoint.answer in _LEGACY:
        return not _fields(response.json).keys().isdisjoint({"detail", "message", "errors"})
    return any(isinstance(error.get("code"), str) for error in _listed_errors(response.json))


def _is_document(response: Response) -> bool:
    return isinstance(_fields(response.json).get("data"), dict | list)


def _is_receipt(response: Response) -> bool:
    # A later revision may add a document: Klaviyo does not call that a breaking change.
    return (response.status in {202, 204} and not response.body.strip()) or _is_document(response)


def _is_any(response: Response) -> bool:
    if not response.body.strip():
        return response.status in {200, 201, 202, 204}
    return not _fields(response.json).keys().isdisjoint({"data", "meta"})


_LEGACY: Final = frozenset({Answer.LEGACY_RECEIPT, Answer.LEGACY_OBJECT})
_SUCCESSES: Final[dict[Answer, Callable[[Response], bool]]] = {
    Answer.DOCUMENT: _is_document,
    Answer.RECEIPT: _is_receipt,
    Answer.ANY: _is_any,
    Answer.LEGACY_RECEIPT: lambda response: response.body.strip() in {b"1", b"0"},
    Answer.LEGACY_OBJECT: lambda response: is_profile_id(_fields(response.json).get("id")),
}


def is_profile_id(value: object) -> TypeGuard[str]:
    """Tell whether a value in an answer can be a profile's id."""
    return isinstance(value, str) and _PROFILE_ID.fullmatch(value) is not None


def read_profile(response: Response) -> Profile:
    """Read one profile.

    Raises:
        UnreadableAnswer: The body has no profile, or its identifiers are not text.
    """
    return _profile(_fields(response.json).get("data"))


def read_profiles(response: Response, path: str = PROFILES_PATH) -> Page:
    """Read a page of profiles. A row that is not a profile is left out and logged.

    Raises:
        UnreadableAnswer: The body has no list, or its link leads to another endpoint.
    """
    profiles: list[Profile] = []
    rows = _rows(response)
    for row in rows:
        # One row that cannot be read must not end an iteration over all customers (F-36).
        try:
            profiles.append(_profile(row))
        except UnreadableAnswer:
            logger.warning("a profile in Klaviyo's list could not be read and was left out")
    return Page(tuple(profiles), read_next_path(response, path))


def read_next_path(response: Response, path: str = PROFILES_PATH) -> str | None:
    """Return the path of the page after this one, for `list_profiles`; None after the last page.

    Raises:
        UnreadableAnswer: The link leads to another endpoint.
    """
    following = _fields(_fields(response.json).get("links")).get("next")
    return None if following is None else next_path(following, path)


def read_profile_ids(response: Response) -> tuple[str, ...]:
    """Read the ids of the profiles that a search has found. What a profile holds is then read by its id (H7).

    Raises:
        UnreadableAnswer: The body has no list, or a row of it has no id.
    """
    # Stricter than `read_profiles`: a row that is left out here could be the address's owner, and a duplicate would be
    # created (F-3).
    ids = [_fields(row).get("id") for row in _rows(response)]
    if not all(map(is_profile_id, ids)):
        raise UnreadableAnswer("a row of the search has no id")
    return tuple(map(str, ids))


def _rows(response: Response) -> list[object]:
    rows = _items(_fields(response.json).get("data"))
    if rows is None:
        raise UnreadableAnswer("the answer holds no list of profiles")
    return rows


def next_path(link: object, path: str = PROFILES_PATH) -> str:
    """Return the path of a link to the next page, without the link's host: the key must not go to another host.

    Raises:
        UnreadableAnswer: The link does not lead to that list, of profiles or of other things.
    """
    if isinstance(link, str) and link.isascii() and link.isprintable() and " " not in link:
        try:
            parts = urlsplit(link)
        except ValueError:
            raise UnreadableAnswer("the link to the next page is malformed") from None
        # Path and query only: a link to another host must not carry the key there (F-30).
        if parts.path.rstrip("/") == path and parts.query:
            return f"{path}?{parts.query}"
    raise UnreadableAnswer("the link to the next page leads elsewhere")


def read_account_id(response: Response) -> str:
    """Read the account's id, the six characters that are also its public key.

    Raises:
        UnreadableAnswer: The body does not name exactly one account.
    """
    rows = _items(_fields(response.json).get("data"))
    if rows is not None and len(rows) == 1:
        account = _fields(rows[0]).get("id")
        # It becomes the namespace of the map, and is shown and logged: a host of one's own may answer anything.
        if isinstance(account, str) and _ACCOUNT_ID.fullmatch(account):
            return account
    raise UnreadableAnswer("the answer does not name one account")


def duplicate_profile_id(response: Response) -> str | None:
    """Return the id of the profile that a 409 names as the owner of an identifier; Klaviyo may leave the id out."""
    for error in _errors(response.json):
        owner = _fields(error.get("meta")).get("duplicate_profile_id")
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


def profile_of(attributes: dict[str, Any]) -> Profile:
    """Return the profile, without the fields in which Klaviyo has an unexpected value.

    Raises:
        UnreadableAnswer: An identifier is not text.
    """
    filled = {name: value for name, value in attributes.items() if value is not None}
    # Identifiers strictly, all other fields with tolerance (F-23): if an external id that cannot be read were taken for
    # missing, the profile could be given to another customer.
    filled.update((name, _identifier(attributes.get(name))) for name in _IDENTIFYING)
    try:
        return Profile.model_validate(filled)
    except ValidationError as exc:
        odd = {each["loc"][0] for each in exc.errors(include_input=False, include_url=False, include_context=False)}
    return Profile.model_validate({name: value for name, value in filled.items() if name not in odd})


def _identifier(value: object) -> str | None:
    """Return an identifier of an answer: a number as text, blanks as None. Klaviyo has answered with both (F-36).

    Raises:
        UnreadableAnswer: The value is neither text, a number nor null.
    """
    # To Python a bool is a number too.
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, str):
        return None if value is None or not value.strip() else value
    raise UnreadableAnswer("an identifier of the profile is no text")


def _profile(data: object) -> Profile:
    record = _fields(data)
    profile_id = record.get("id")
    if not is_profile_id(profile_id):
        raise UnreadableAnswer("the answer names no profile")
    # The id last: the attributes may not replace it.
    return profile_of({**_fields(record.get("attributes")), "id": profile_id})


def _fields(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _items(value: object) -> list[object] | None:
    return cast("list[object]", value) if isinstance(value, list) else None


def _listed_errors(body: object) -> tuple[dict[str, Any], ...]:
    listed = _items(_fields(body).get("errors")) or ()
    return tuple(error for each in listed if (error := _fields(each)))


def _errors(body: object) -> tuple[dict[str, Any], ...]:
    fields = _fields(body)
    if "errors" in fields:
        return _listed_errors(body)
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
        pointer = _fields(error.get("source")).get("pointer")
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
