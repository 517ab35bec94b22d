"""The retired Track, Identify and People endpoints, carried out on the current API and answered as they were then.

Decided here:

- how the four shapes of a legacy call are read: JSON, a form, base64 in the query, a private key as token;
- which client a call belongs to;
- what the caller is answered.

The verbs of the client do the work, so each rule holds in every mode.

The public key stands in the shop's pages, so it proves nothing about a caller. The gateway takes a public key only from
this host, or with the gateway's token.

These endpoints answered a refused call with ``0``, which no shop reads. So the gateway puts a refused call into the
outbox, if there is one, and answers ``1``. There the call waits for the customer's sign-up, or is kept for a person to
look at.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl

from safeklaviyo.errors import (
    APIStatusError,
    ConfigurationError,
    NotFoundError,
    ProfileNotVisibleError,
    SafeKlaviyoError,
)
from safeklaviyo.gateway._messages import answer, answer_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeklaviyo.gateway._messages import Send
    from safeklaviyo.guard._clients import Guarded
    from safeklaviyo.guard._core import Core
    from safeklaviyo.models import Profile

_RECEIPTS: Final = frozenset({"/api/track", "/api/identify"})
_SEARCH: Final = "/api/v2/people/search"
_PERSON: Final = re.compile(r"/api/v1/person/([A-Za-z0-9]{1,64})")
_PIXEL: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_NAMES: Final = {"email": "email", "phone_number": "phone_number", "external_id": "external_id"}
_IDENTIFIERS: Final = {
    "$email": "email", "email": "email", "$id": "external_id", "id": "external_id",
    "$phone_number": "phone_number", "phone_number": "phone_number",
}  # fmt: skip
_NOBODY: Final = "There is no profile matching the given parameters."
_BAD_KEY: Final = "The API key specified is invalid."
_PATCHES: Final = frozenset({"$append", "$unappend", "$unset"})

logger = logging.getLogger("safeklaviyo")


def is_legacy(path: str) -> bool:
    """Tell whether a path is one of the retired endpoints'."""
    bare = path.rstrip("/")
    return bare in _RECEIPTS or bare == _SEARCH or _PERSON.fullmatch(bare) is not None


class Legacy:
    """Answers calls of the retired endpoints."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def answer(
        self,
        method: str,
        target: str,
        body: bytes | None,
        send: Send,
        *,
        is_trusted: bool,
    ) -> None:
        """Answer one call.

        Args:
            body: None if it is too long.
            is_trusted: The caller is on this host, or has the gateway's token.
        """
        path, _, query = target.partition("?")
        asked = dict(parse_qsl(query, keep_blank_values=True))
        bare = path.rstrip("/")
        # Track and Identify: the caller gets a receipt of one character, or a pixel for a call out of an image tag.
        if bare in _RECEIPTS:
            is_done = await self._receipt(bare, method, asked, body, is_trusted=is_trusted)
            if asked.get("i") == "1":
                await answer(send, 200, [("content-type", "image/gif")], _PIXEL)
            else:
                await answer(send, 200, [("content-type", "text/html; charset=utf-8")], b"1" if is_done else b"0")
            return
        # People: a private key is required even from this host, because the answer shows a profile.
        given = {**asked, **_form(body)}
        client = self._client_of(given.pop("api_key", None), is_trusted=False)
        if client is None:
            self._core.count("foreign_key")
            await answer_json(send, 403, {"status": 403, "message": _BAD_KEY})
            return
        status, content = await self._people(client.client, bare, method, given)
        await answer_json(send, status, content)

    async def _receipt(
        self, path: str, method: str, asked: Mapping[str, str], body: bytes | None, *, is_trusted: bool
    ) -> bool:
        """Carry out a call of Track or Identify; tell whether it was carried out or queued."""
        data = _data(method, asked, body)
        client = self._client_of(data.get("token"), is_trusted=is_trusted)
        if client is None:
            self._core.count("foreign_key")
            return False
        verb, given = _event(data) if path == "/api/track" else _identity(data)
        if given is None:
            return False
        return await self._carried_out(client.client, verb, given)

    async def _carried_out(self, client: Any, verb: str, given: dict[str, Any]) -> bool:
        """Call the client's verb, and queue what the verb refuses."""
        name = given.pop("event", None)
        subject = () if name is None else (name,)
        try:
            await getattr(client, verb)(*subject, **given)
        except SafeKlaviyoError as error:
            logger.warning("a legacy %s was refused: %s", verb, error, extra={"operation": verb, "rule": error.rule})
            return await self._queued(client, verb, subject, given, error)
        return True

    async def _queued(
        self, client: Any, verb: str, subject: tuple[Any, ...], given: dict[str, Any], error: SafeKlaviyoError
    ) -> bool:
        """Put a refused call into the outbox; tell whether there is one that has taken it."""
        # The refused event may have arrived. With the same key and time, the queued one is the same event (P5).
        if verb == "track":
            given = {**given, "unique_id": getattr(error, "unique_id", None) or given.get("unique_id"),
                     "time": getattr(error, "time", None) or given.get("time")}  # fmt: skip
        try:
            await getattr(client.outbox, verb)(*subject, **given)
        except (SafeKlaviyoError, ConfigurationError):
            return False
        return True

    async def _people(self, client: Any, path: str, method: str, given: dict[str, str]) -> tuple[int, Any]:
        person = _PERSON.fullmatch(path)
        try:
            if person is None:
                return await self._search(client, given)
            if method == "PUT":
                await self._change(client, person[1], given)
            return 200, _shown(await client.profiles.get(person[1]))
        except (NotFoundError, ProfileNotVisibleError):
            return 404, {"detail": _NOBODY}
        except SafeKlaviyoError as error:
            status = error.status_code if isinstance(error, APIStatusError) else 503 if error.may_retry else 400
            return status, {"detail": str(error)}

    async def _search(self, client: Any, given: Mapping[str, str]) -> tuple[int, Any]:
        named = {_NAMES[name]: value for name, value in given.items() if name in _NAMES and value}
        if len(named) != 1:
            return 400, {"detail": "Exactly one identifier is required."}
        found = await client.profiles.search(**named)
        return (200, {"id": found[0].id}) if found else (404, {"detail": _NOBODY})

    async def _change(self, client: Any, profile_id: str, given: Mapping[str, str]) -> None:
        """Carry out the PUT that changed a person, identifiers too: each by its own verb."""
        # Read first: an identifier that stays as it was is no change, and each verb names the customer by the old ones.
        before = await client.profiles.get(profile_id)
        wanted = {_IDENTIFIERS[name]: value for name, value in given.items() if name in _IDENTIFIERS and value}
        properties = {name: _patch(name, value) for name, value in given.items() if name not in _IDENTIFIERS}
        external_id, email = before.external_id, before.email
        # One verb after the other. Each names the customer by what the verb before has set.
        if "email" in wanted and wanted["email"] != email:
            await client.change_email(wanted["email"], external_id=external_id, old_email=email)
            email = wanted["email"]
        if "external_id" in wanted and wanted["external_id"] != external_id:
            await client.change_external_id(wanted["external_id"], old_external_id=external_id, email=email)
            external_id = wanted["external_id"]
        if "phone_number" in wanted and wanted["phone_number"] != before.phone_number:
            await client.change_phone_number(wanted["phone_number"], external_id=external_id, email=email)
        if properties:
            await client.identify(properties, external_id=external_id, email=email)

    def _client_of(self, key: object, *, is_trusted: bool) -> Guarded | None:
        """Return the client that a call's key belongs to; for a public key only if the caller is trusted."""
        if not isinstance(key, str) or not key:
            return None
        clients = self._core.clients
        private = clients.of(f"Klaviyo-API-Key {key}")
        if private is not None or not is_trusted:
            return private
        return next((each for each in clients.all if each.account == key), None)


def _data(method: str, asked: Mapping[str, str], body: bytes | None) -> dict[str, Any]:
    """Return the call's data, which is JSON, or JSON in a form, or base64 in the query; empty if it cannot be read."""
    try:
        if method == "GET":
            # A plus in a query is decoded as a blank, and base64 has pluses.
            text: str | bytes = base64.b64decode(asked.get("data", "").replace(" ", "+"))
        elif (body or b"").lstrip()[:1] == b"{":
            text = body or b""
        else:
            text = _form(body).get("data", "")
        return _object(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _form(body: bytes | None) -> dict[str, str]:
    return dict(parse_qsl((body or b"").decode("utf-8", "replace"), keep_blank_values=True))


def _event(data: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
    properties, time = _object(data.get("properties")), data.get("time")
    if not isinstance(data.get("event"), str):
        return "track", None
    given = {
        "event": data["event"],
        "customer_properties": _person(data.get("customer_properties")),
        "properties": properties,
        "time": time,
    }
    if isinstance(time, int | float) and properties.get("$event_id") is None:
        # Klaviyo took an event's second for its key, so a call that is made again is the same event.
        given["unique_id"] = str(int(time))
    return "track", given


def _identity(data: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
    person = _person(data.get("properties"))
    return "identify", {"properties": person} if person else None


def _person(given: object) -> dict[str, Any]:
    # These endpoints took an empty text for an identifier that is not given.
    return {name: value for name, value in _object(given).items() if not (name in _IDENTIFIERS and value in {"", None})}


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _patch(name: str, value: str) -> Any:
    try:
        return json.loads(value) if name in _PATCHES else value
    except ValueError:
        return value


def _shown(profile: Profile) -> dict[str, Any]:
    """Return a profile as the person that it was."""
    location = profile.location or {}
    own = {"$" + name: getattr(profile, name, None) for name in ("first_name", "last_name", "organization", "title")}
    places = {"$" + name: location.get(name) for name in ("address1", "address2", "city", "region", "country", "zip")}
    return {
        **profile.properties, "object": "person", "id": profile.id, "$email": profile.email, "email": profile.email,
        "$id": profile.external_id, "$phone_number": profile.phone_number, **own, **places,
        "first_name": own["$first_name"], "last_name": own["$last_name"],
    }  # fmt: skip
