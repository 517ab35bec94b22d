"""Reading Klaviyo's answers: profiles with tolerance, identifiers strictly.

Decided here: how a body becomes a `Profile`, in both dialects, and whether Klaviyo has written the answer at all. An
answer that cannot be read raises `UnreadableAnswer`; the flow that sent the request decides what follows. Not here:
errors (`refusals`), and building requests (`profiles`, `events`).
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast
from urllib.parse import urlsplit

from pydantic import ValidationError

from safeklaviyo._api.messages import Answer
from safeklaviyo._api.paths import PROFILES_PATH
from safeklaviyo.models import Profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._api.messages import Endpoint, Response

logger = logging.getLogger("safeklaviyo")

_ACCOUNT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PROFILE_ID = re.compile(r"[A-Za-z0-9]{1,64}")
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
    - an error document, which names a code (`refusals.error_from`).

    A web page, a challenge, a redirect or half a body is none, with any status. Sources: Klaviyo's OpenAPI description;
    its guide on errors; recorded answers.
    """
    # The status alone proves nothing: a proxy can give any.
    if is_success(response.status):
        return _SUCCESSES[endpoint.answer](response)
    if response.status < HTTPStatus.BAD_REQUEST:
        return False
    if endpoint.answer in _LEGACY:
        return not fields_of(response.json).keys().isdisjoint({"detail", "message", "errors"})
    return any(isinstance(error.get("code"), str) for error in listed_errors(response.json))


def _is_document(response: Response) -> bool:
    return isinstance(fields_of(response.json).get("data"), dict | list)


def _is_receipt(response: Response) -> bool:
    # A later revision may add a document: Klaviyo does not call that a breaking change.
    return (response.status in {202, 204} and not response.body.strip()) or _is_document(response)


def _is_any(response: Response) -> bool:
    if not response.body.strip():
        return response.status in {200, 201, 202, 204}
    return not fields_of(response.json).keys().isdisjoint({"data", "meta"})


_LEGACY: Final = frozenset({Answer.LEGACY_RECEIPT, Answer.LEGACY_OBJECT})
_SUCCESSES: Final[dict[Answer, Callable[[Response], bool]]] = {
    Answer.DOCUMENT: _is_document,
    Answer.RECEIPT: _is_receipt,
    Answer.ANY: _is_any,
    Answer.LEGACY_RECEIPT: lambda response: response.body.strip() in {b"1", b"0"},
    Answer.LEGACY_OBJECT: lambda response: is_profile_id(fields_of(response.json).get("id")),
}


def is_profile_id(value: object) -> TypeGuard[str]:
    """Tell whether a value in an answer can be a profile's id."""
    return isinstance(value, str) and _PROFILE_ID.fullmatch(value) is not None


def read_profile(response: Response) -> Profile:
    """Read one profile.

    Raises:
        UnreadableAnswer: The body has no profile, or its identifiers are not text.
    """
    return _profile(fields_of(response.json).get("data"))


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
    following = fields_of(fields_of(response.json).get("links")).get("next")
    return None if following is None else next_path(following, path)


def read_profile_ids(response: Response) -> tuple[str, ...]:
    """Read the ids of the profiles that a search has found. What a profile holds is then read by its id (H7).

    Raises:
        UnreadableAnswer: The body has no list, or a row of it has no id.
    """
    # Stricter than `read_profiles`: a row that is left out here could be the address's owner, and a duplicate would be
    # created (F-3).
    ids = [fields_of(row).get("id") for row in _rows(response)]
    if not all(map(is_profile_id, ids)):
        raise UnreadableAnswer("a row of the search has no id")
    return tuple(map(str, ids))


def _rows(response: Response) -> list[object]:
    rows = _items(fields_of(response.json).get("data"))
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
    rows = _items(fields_of(response.json).get("data"))
    if rows is not None and len(rows) == 1:
        account = fields_of(rows[0]).get("id")
        # It becomes the namespace of the map, and is shown and logged: a host of one's own may answer anything.
        if isinstance(account, str) and _ACCOUNT_ID.fullmatch(account):
            return account
    raise UnreadableAnswer("the answer does not name one account")


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
    record = fields_of(data)
    profile_id = record.get("id")
    if not is_profile_id(profile_id):
        raise UnreadableAnswer("the answer names no profile")
    # The id last: the attributes may not replace it.
    return profile_of({**fields_of(record.get("attributes")), "id": profile_id})


def fields_of(value: object) -> dict[str, Any]:
    """Return a JSON object; anything else is an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _items(value: object) -> list[object] | None:
    return cast("list[object]", value) if isinstance(value, list) else None


def listed_errors(body: object) -> tuple[dict[str, Any], ...]:
    """Return the errors of an error document; none for any other body."""
    listed = _items(fields_of(body).get("errors")) or ()
    return tuple(error for each in listed if (error := fields_of(each)))
