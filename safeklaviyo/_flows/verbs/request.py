"""`request` and `iterate`: any other endpoint, with the key, the pacing, the retries and the errors of all calls.

Decided here: how a person whom such a request names is found. What may be requested at all is decided in `_api.raw`.
"""

from __future__ import annotations

import json as _json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from safeklaviyo._api.messages import Repeat
from safeklaviyo._api.raw import is_about_a_person, raw_request, target_from
from safeklaviyo._api.refusals import request_id
from safeklaviyo._api.responses import is_profile_id
from safeklaviyo._flows.call import Call, Setup, run, send
from safeklaviyo._flows.identity.phones import attach_phone
from safeklaviyo._flows.identity.reads import endless_pages
from safeklaviyo._flows.required import required
from safeklaviyo._flows.verbs.person import person_of
from safeklaviyo._input.findings import refused
from safeklaviyo._rules.claims import claim_from
from safeklaviyo.errors import ConfigurationError, InvalidIdentifierError, NoResponseError
from safeklaviyo.raw import RawResponse

if TYPE_CHECKING:
    from safeklaviyo._api.messages import Request, Response
    from safeklaviyo._effects import Flow

logger = logging.getLogger("safeklaviyo")

_IDENTIFIERS = ("external_id", "email", "phone_number")
_OF_BROWSERS = ("anonymous_id", "_kx")
_PERSON = ("data", "attributes", "profile", "data")
_WHERE = "json.data.attributes.profile.data"


@dataclass(frozen=True, slots=True)
class Resources:
    """A part of what an endpoint lists.

    Attributes:
        next: The link to the next part; None after the last.
    """

    rows: list[dict[str, Any]]
    next: str | None


def request(
    setup: Setup, method: object, path: object, *, params: object, json: object, content: object, headers: object
) -> Flow[RawResponse]:
    """See `Klaviyo.request`."""

    def _body(call: Call) -> Flow[RawResponse]:
        _require_other_calls(call)
        target = target_from(path, params, call.setup.base)
        asked = raw_request(method, target, json=json, content=content, headers=headers)
        if is_about_a_person(asked):
            named = yield from _named_by_profile_id(call, _document(asked))
            asked = raw_request(method, target, json=named, headers=headers)
        response = yield from send(call, asked, main=asked.repeat is not Repeat.READ)
        return RawResponse(response.status, response.headers, response.body, request_id(response))

    return run(setup, "request", _body)


def list_resources(
    setup: Setup, path: object, *, params: object, cursor: str | None, seen: set[str]
) -> Flow[Resources]:
    """Fetch one page for `Klaviyo.iterate`.

    Args:
        seen: The pages that were fetched before, to which this one is added.
    """

    def _body(call: Call) -> Flow[Resources]:
        _require_other_calls(call)
        first = target_from(path, params, call.setup.base)
        target = first if cursor is None else _following(call, cursor, first)
        asked = raw_request("GET", target)
        # A link that leads back would let the caller go on for ever.
        if target in seen:
            raise endless_pages()
        seen.add(target)
        return _resources((yield from send(call, asked)))

    return run(setup, "iterate", _body)


def _require_other_calls(call: Call) -> None:
    if not call.dialect.has_other_calls:
        raise ConfigurationError("the legacy API has no other endpoints; use the current dialect")


def _following(call: Call, cursor: str, first: str) -> str:
    """Return the target of a link to the next page.

    Raises:
        NoResponseError: The link leads to another endpoint, or to another host.
    """
    try:
        target = target_from(cursor, None, call.setup.base)
    except ValueError:
        target = ""
    if _path(target) != _path(first):
        raise NoResponseError("Klaviyo's link to the next page leads elsewhere; try again", may_retry=True) from None
    return target


def _path(target: str) -> str:
    return target.partition("?")[0].rstrip("/")


def _resources(response: Response) -> Resources:
    document = _mapping(response.json)
    data: object = document.get("data")
    if isinstance(data, dict):
        data = [cast("dict[str, Any]", data)]
    if not isinstance(data, list):
        raise NoResponseError("Klaviyo's answer could not be read; try again later", may_retry=True)
    listed = cast("list[object]", data)
    rows = [cast("dict[str, Any]", each) for each in listed if isinstance(each, dict)]
    if len(rows) < len(listed):
        # One row that cannot be read must not end an iteration over all (F-36).
        logger.warning("a row in Klaviyo's list could not be read and was left out")
    following: object = _mapping(document.get("links")).get("next")
    return Resources(rows, None if following is None else str(following))


def _mapping(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _document(asked: Request) -> dict[str, Any]:
    """Return a copy of a request's document, which is then changed."""
    try:
        return _mapping(_json.loads(asked.body or b"null"))
    except (ValueError, RecursionError):
        return {}


def _named_by_profile_id(call: Call, document: dict[str, Any]) -> Flow[dict[str, Any]]:
    """Put the profile's id in place of the identifiers by which a document names a person.

    By an address or an id of the shop's own, Klaviyo would find or make a profile, and perhaps a second one. So the
    person is found by the rules, with first contact where neither the map nor Klaviyo knows them.

    Raises:
        InvalidPropertyError: There is no person in the document, or one named by a browser.
        IdentityError: It is not certain which customer is meant.
    """
    # Step 1: take the identifiers out.
    person = document
    for step in _PERSON:
        person = _mapping(person.get(step))
    attributes = _mapping(person.get("attributes"))
    for name in _OF_BROWSERS:
        if attributes.get(name) is not None:
            raise refused(f"{_WHERE}.attributes.{name}", "names a browser, which any person may use: leave it out")
    external_id, email, phone_number = (attributes.pop(name, None) for name in _IDENTIFIERS)
    given = person.get("id")
    if external_id is email is phone_number is None:
        if is_profile_id(given):
            return document
        raise refused(_WHERE, "has to name a person")
    # Step 2: find the profile. The document was checked before, so that one which is refused leaves no new profile.
    claim = claim_from(external_id, email, phone_number, call.policy)
    resolved = yield from person_of(call, claim)
    profile_id = required(resolved.binding.profile_id)
    if given is not None and given != profile_id:
        message = "the profile's id and the identifiers beside it are different people's; leave one of them out"
        raise InvalidIdentifierError(message)
    # Step 3: name it. A phone number is attached to the profile, and never names it (R14).
    if claim.phone_number is not None or claim.unusable_phone:
        yield from attach_phone(call, claim, resolved.binding, None)
    person["id"] = profile_id
    if not attributes:
        person.pop("attributes", None)
    return document
