"""Requests: taken apart, matched with an endpoint, and written into the journal without the key."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from safeklaviyo.testing.simulator import routes
from safeklaviyo.testing.simulator.checks import MAX_BODY
from safeklaviyo.testing.simulator.records import Answer, Asked, Entry
from safeklaviyo.testing.simulator.refusals import Refusal
from safeklaviyo.testing.simulator.shapes import KLAVIYO

if TYPE_CHECKING:
    from collections.abc import Mapping

_JSON_TYPES = frozenset({"", "application/json", "application/vnd.api+json"})
_SECRET = frozenset({"authorization", "cookie", "proxy-authorization"})


def read(
    method: str, target: str, headers: Mapping[str, str], body: bytes, at: float
) -> tuple[list[routes.Route], Asked]:
    """Take a request apart, and return the endpoints of its path."""
    path, _, query = target.partition("?")
    found, named = routes.find(path)
    method = method.upper()
    lowered = {name.lower(): value for name, value in headers.items()}
    host = lowered.get("host", "a.klaviyo.com")
    # Links lead back to where the request was sent: a simulator behind a socket must not lead its client to Klaviyo.
    base = KLAVIYO if host == "a.klaviyo.com" else f"http://{host}"
    asked = Asked(
        method,
        path,
        dict(parse_qsl(query, keep_blank_values=True)),
        lowered,
        body,
        at,
        next((route.name for route in found if method in route.methods), ""),
        # Decoded only now: an encoded slash must not make two parts of an id (F-7).
        unquote(named),
        base,
        base + target,
    )
    return found, asked


def chosen(found: list[routes.Route], asked: Asked) -> routes.Route:
    """Return the endpoint that is asked.

    Raises:
        Refusal: 404 for an unknown path, 405 for another method.
    """
    if not found:
        raise Refusal(404, "The path does not exist.")
    for route in found:
        if asked.method in route.methods:
            return route
    raise Refusal(405)


def check_type(asked: Asked) -> None:
    """Refuse a body with another content type than JSON, a compressed body, or one that is too large.

    Raises:
        Refusal: 415 or 413.
    """
    kind = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = asked.headers.get("content-encoding", "identity").lower()
    if asked.body and (kind not in _JSON_TYPES or encoding != "identity"):
        raise Refusal(415)
    if len(asked.body) > MAX_BODY:
        raise Refusal(413)


def is_committed(found: list[routes.Route], asked: Asked, answer: Answer) -> bool:
    """Whether a write was done, or accepted."""
    # A legacy endpoint says 200 to what it refuses, with the body 0.
    writes = any(route.writes for route in found if asked.method in route.methods)
    return writes and 200 <= answer.status < 300 and answer.body != b"0"


def entry(asked: Asked, status: int | None, *, committed: bool) -> Entry:
    """Return the journal's line."""
    return Entry(
        asked.method,
        asked.path,
        # The key is left out here and below: a test that fails prints the journal.
        {name: value for name, value in asked.query.items() if name != "api_key"},
        {name: value for name, value in asked.headers.items() if name not in _SECRET},
        asked.body,
        asked.endpoint,
        asked.at,
        status,
        committed,
    )
