"""Requests to any endpoint of Klaviyo's, as a caller describes them.

Decided here: which targets the key may be sent to, which endpoints are refused because they write who customers are
(by the table in `paths`), which headers a caller may set, and what repeating such a request can do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote, unquote, urlsplit

from safeklaviyo._api.bodies import MAX_BODY_BYTES, encoded_text
from safeklaviyo._api.messages import Answer, Endpoint, Repeat, Request
from safeklaviyo._api.paths import ABOUT_A_PERSON, RETIRED, VERBS, template_of
from safeklaviyo._input.findings import refused

if TYPE_CHECKING:
    from collections.abc import Iterator

_KLAVIYO: Final = "https://a.klaviyo.com"
_BURST: Final = 10
_STEADY: Final = 150
"""The limits of most endpoints, until an answer names the endpoint's own."""

_METHODS: Final = {
    # A GET reads. To delete twice is to delete once, as is to put. A POST makes something new each time. What a PATCH
    # does may depend on what it finds, such as a value that is appended, or a state that another program has changed.
    "GET": Repeat.READ,
    "DELETE": Repeat.IDEMPOTENT,
    "PUT": Repeat.IDEMPOTENT,
    "PATCH": Repeat.ONCE,
    "POST": Repeat.ONCE,
}
_PATH: Final = re.compile(r"(?:/(?:[\w\-.~!$&'()*+,=:@]|%[0-9A-F]{2})+)+/?", re.ASCII | re.IGNORECASE)
_QUERY: Final = re.compile(r"[!-~]*", re.ASCII)
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_VALUE: Final = re.compile(r"[ -~]{0,1000}", re.ASCII)
_OURS: Final = frozenset(
    {
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
    }
)
"""The headers that say who asks, how a message ends, or that the method is another one."""


def target_from(path: object, params: object, base: str) -> str:
    """Return where a request goes: an encoded path, with the query.

    Args:
        path: A path below ``/api/``, or a whole link, such as Klaviyo's ``links.next``.
        params: More parameters of the query.
        base: The host that requests go to. A link to it, or to Klaviyo's own host, is followed; there alone.

    Raises:
        InvalidPropertyError: The path does not lead to the API of that host.
    """
    if not isinstance(path, str) or not path.isascii() or not path.isprintable():
        raise refused("path", "has to be a text of ASCII characters; encode all others")
    try:
        parts = urlsplit(path)
    except ValueError:
        raise refused("path", "is malformed") from None
    # The key travels with the request, so no link leads it to another host (F-30).
    if (parts.scheme or parts.netloc) and f"{parts.scheme}://{parts.netloc}".lower() not in {_KLAVIYO, base.lower()}:
        raise refused("path", "leads to another host than this client's; give a path that begins with /api/")
    if not parts.path.startswith("/api/") or not parts.path.strip("/").partition("/")[2]:
        raise refused("path", "has to begin with /api/; other endpoints are for browsers, or take no key")
    if not _PATH.fullmatch(parts.path) or parts.fragment or not _QUERY.fullmatch(parts.query):
        raise refused("path", "is malformed; encode what stands in it")
    _segments(parts.path)
    query = "&".join(filter(None, (parts.query, *_parameters(params))))
    return f"{parts.path}?{query}" if query else parts.path


def _segments(path: str) -> list[str]:
    """Return the parts of a path as a server reads them.

    Raises:
        InvalidPropertyError: Servers may read them differently, as another path (F-7).
    """
    segments = [unquote(each) for each in path.strip("/").split("/")]
    for each in segments:
        if each in {".", ".."} or "/" in each or "\\" in each or not each.isprintable():
            raise refused("path", "has a part that could lead to another path; write it out")
    return segments


def _parameters(params: object) -> Iterator[str]:
    if params is None:
        return
    if not isinstance(params, Mapping):
        raise refused("params", "has to be a mapping")
    for name, value in cast("Mapping[object, object]", params).items():
        if value is None:
            continue
        given = cast("list[object]", [*value] if isinstance(value, list | tuple) else [value])
        if not isinstance(name, str) or not all(isinstance(each, str | int | float) for each in given):
            raise refused("params", "has to have texts as names, and texts, numbers, truth values or lists of them")
        texts = (str(each).lower() if isinstance(each, bool) else str(each) for each in given)
        yield f"{quote(name, safe='')}={quote(','.join(texts), safe='')}"


def raw_request(
    method: object, target: str, *, json: object = None, content: object = None, headers: object = None
) -> Request:
    """Return the request that a caller describes.

    Args:
        target: From `target_from`.

    Raises:
        InvalidPropertyError: The request writes who customers are, which has a verb; or a part of it cannot be sent.
    """
    name = method.upper() if isinstance(method, str) else ""
    if name not in _METHODS:
        raise refused("method", f"has to be one of {', '.join(_METHODS)}")
    path = target.partition("?")[0]
    refuse_identity_writes(name, path)
    given = _headers(headers)
    body = _body(json, content)
    kind = given.pop("content-type", "application/vnd.api+json")
    # Named without ids, so that requests to one endpoint share its queue, and queues do not add up.
    endpoint = Endpoint(f"{name} {template_of(path.rstrip('/'))}", burst=_BURST, steady=_STEADY, answer=Answer.ANY)
    return Request(name, target, endpoint, _METHODS[name], body, kind, tuple(given.items()))


def refuse_identity_writes(method: str, path: str) -> None:
    """Refuse a request that writes who customers are.

    Raises:
        InvalidPropertyError: The request writes who customers are. The message names the verb for that.
    """
    # In lower case and decoded: no other spelling of a path gets past the table.
    template = _template([each.lower() for each in _segments(path)])
    retired = next((each for each in RETIRED if f"{template}/".startswith(f"{each}/")), None)
    if retired is not None:
        raise refused("path", f"is retired: call `{RETIRED[retired]}`")
    verb = VERBS.get(template)
    if verb is not None and method != "GET":
        raise refused("path", f"writes who customers are: call `{verb}`, which keeps one profile for each")


def is_about_a_person(request: Request) -> bool:
    """Tell whether a request names a person in its body, and has no verb of its own."""
    template = _template([each.lower() for each in _segments(request.path.partition("?")[0])])
    return request.method == "POST" and template in ABOUT_A_PERSON


def _template(segments: list[str]) -> str:
    """Return a path with a mark in place of the id: the name under which the table has it."""
    return "/" + "/".join("{}" if number == 2 else each for number, each in enumerate(segments))


def _headers(headers: object) -> dict[str, str]:
    """Return a caller's headers by lower-case name."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise refused("headers", "has to be a mapping")
    given: dict[str, str] = {}
    for name, value in cast("Mapping[object, object]", headers).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise refused("headers", "has to have texts as names and values")
        if not _HEADER.fullmatch(name) or not _VALUE.fullmatch(value):
            raise refused("headers", "has characters that no header has")
        if name.lower() in _OURS:
            raise refused(f"headers.{name.lower()}", "is this client's to set")
        given[name.lower()] = value
    return given


def _body(json: object, content: object) -> bytes | None:
    if json is not None and content is not None:
        raise refused("content", "and json cannot both be given")
    if content is not None and not isinstance(content, str | bytes):
        raise refused("content", "has to be bytes, or a text")
    body = _json(json) if content is None else content.encode() if isinstance(content, str) else content
    if body is not None and len(body) > MAX_BODY_BYTES:
        raise refused("json" if content is None else "content", "is larger than the 5 MB that Klaviyo accepts")
    return body


def _json(document: Any) -> bytes | None:
    if document is None:
        return None
    try:
        return encoded_text(document).encode()
    except (TypeError, ValueError, RecursionError):
        # Not chained: the codec's message quotes the text.
        raise refused("json", "has a value that JSON does not have") from None
