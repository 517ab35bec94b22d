"""HAR 1.2, as browsers, proxies and test tools write it: one entry a call.

Decided here: which entries are calls to Klaviyo, which of them cannot be read and why, and which account a call belongs
to. Headers tell the account, and are never kept. Not here: what the bodies say (`bodies`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from safeklaviyo.audit._diagnosis.bodies import READS, Unreadable, operation_of, understood
from safeklaviyo.audit._diagnosis.calls import KEY, Call, object_of, shown_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

JSON = dict[str, Any]
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_LARGEST: Final = 10_000_000
"""Bytes of an unpacked body, at most."""


def calls_of(document: JSON, source: str) -> Iterator[Call | tuple[int, str, bool]]:
    """Yield the calls of a HAR. An entry that cannot be used yields its index, why, and whether it may have written."""
    entries = _entries(document)
    keys = _accounts_of_keys(entries)
    for index, entry in enumerate(entries):
        request = object_of(entry.get("request"))
        method = str(request.get("method", "")).upper()
        parts = _split(request.get("url"))
        operation = "" if parts is None else operation_of(method, parts[0])
        if parts is None or not operation:
            continue
        path = shown_path(parts[0])
        call = Call(index, _moment(entry.get("startedDateTime")), method, path, source, operation=operation)
        found = _call(entry, call, parts[1])
        if isinstance(found, Call) and found.account in keys:
            found = replace(found, account=keys[found.account])
        yield found


def _entries(document: JSON) -> list[JSON]:
    entries: Any = object_of(document.get("log")).get("entries")
    return [object_of(entry) for entry in cast("list[object]", entries)] if isinstance(entries, list) else []


def _accounts_of_keys(entries: list[JSON]) -> dict[str | None, str]:
    """Return the account of each private key, from the answers to calls with that key."""
    keys: dict[str | None, str] = {}
    for entry in entries:
        secret = _headers(object_of(entry.get("request"))).get("authorization")
        public = _headers(object_of(entry.get("response"))).get("cid")
        if secret and public:
            keys[_hashed(secret)] = public
    return keys


def _split(url: object) -> tuple[str, dict[str, str]] | None:
    """Return the path and the query of a call to Klaviyo, or to a simulator or gateway on this machine."""
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    if host not in _LOOPBACK and host != "klaviyo.com" and not host.endswith(".klaviyo.com"):
        return None
    return parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))


def _call(entry: JSON, call: Call, query: Mapping[str, str]) -> Call | tuple[int, str, bool]:
    """Return a call, filled from its bodies; if it cannot be used, its index, why, and whether it may have written."""
    request, response = (object_of(entry.get(name)) for name in ("request", "response"))
    sent = _headers(request)
    status, took = response.get("status"), entry.get("time")
    call = replace(
        call,
        status=status if isinstance(status, int) and status > 0 else None,
        account=_account(sent, _headers(response), query),
        took=float(took) / 1000 if isinstance(took, int | float) and took > 0 else None,
    )
    is_read = call.operation in READS
    try:
        body = None if is_read else _request_body(request, sent)
        return understood(call, query, body, _answer(response))
    except Unreadable as exc:
        return call.index, str(exc), not is_read


def _answer(response: JSON) -> bytes | None:
    """Return an answer's body; None if it cannot be read. An answer is evidence only: the call counts without it."""
    try:
        return _body(object_of(response.get("content")), {})
    except Unreadable:
        return None


def skew(document: JSON) -> timedelta | None:
    """Return how far a log's clock is ahead of Klaviyo's, by the answers' ``Date`` headers; None without any."""
    ahead: list[float] = []
    for entry in _entries(document):
        if _split(object_of(entry.get("request")).get("url")) is None:
            continue
        answered = _headers(object_of(entry.get("response"))).get("date")
        moment = _moment(entry.get("startedDateTime"))
        took = entry.get("time")
        if answered is None or moment is None:
            continue
        try:
            said = parsedate_to_datetime(answered)
        except ValueError:
            continue
        middle = moment.timestamp() + (float(took) / 2000 if isinstance(took, int | float) and took > 0 else 0.0)
        # A Date header has whole seconds: on average half a second was cut off.
        ahead.append(middle - said.replace(tzinfo=said.tzinfo or UTC).timestamp() - 0.5)
    # The median, so that one slow answer does not move the clock.
    return timedelta(seconds=sorted(ahead)[len(ahead) // 2]) if ahead else None


def _request_body(request: JSON, headers: Mapping[str, str]) -> bytes:
    given = object_of(request.get("postData"))
    params = given.get("params")
    if not given.get("text") and isinstance(params, list):
        pairs = [(object_of(each).get("name"), object_of(each).get("value")) for each in cast("list[object]", params)]
        data = next((value for name, value in pairs if name == "data"), None)
        if isinstance(data, str):
            return unquote(data).encode()
    if request.get("method") in {"GET", "PUT"} and not given:
        return b""
    body = _body(given, headers)
    size = request.get("bodySize")
    if isinstance(size, int) and size > len(body) and not headers.get("content-encoding"):
        raise Unreadable("its body is cut off")
    return body


def _body(content: JSON, headers: Mapping[str, str]) -> bytes:
    """Return a body's bytes.

    Raises:
        Unreadable: The body is missing, cut off, or compressed and spoilt by the log.
    """
    text = content.get("text")
    if not isinstance(text, str) or not text:
        raise Unreadable("its body is missing")
    raw = text.encode("utf-8", "surrogatepass")
    if content.get("encoding") == "base64":
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise Unreadable("its body is cut off") from None
    if raw[:2] == b"\x1f\x8b":
        return _unzipped(raw)
    if headers.get("content-encoding", "identity").lower() not in {"", "identity"} and raw[:1] not in {b"{", b"["}:
        raise Unreadable("its body is compressed, and the log has spoilt it")
    return raw


def _unzipped(raw: bytes) -> bytes:
    reader = zlib.decompressobj(wbits=31)
    try:
        body = reader.decompress(raw, _LARGEST)
    except zlib.error:
        raise Unreadable("its body is compressed, and the log has spoilt it") from None
    if not reader.eof:
        raise Unreadable("its body is compressed and cut off")
    return body


def _account(sent: Mapping[str, str], answered: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """Return the name of a call's account: from Klaviyo's answer, from a browser's public key, or a key's hash."""
    public = answered.get("cid") or query.get("company_id")
    if public:
        return public
    secret = sent.get("authorization") or query.get("api_key")
    return _hashed(secret) if secret else None


def _hashed(secret: str) -> str:
    # Hashed, so that no key is kept in memory (P8).
    return KEY + hashlib.sha256(secret.encode()).hexdigest()[:16]


def _headers(message: JSON) -> dict[str, str]:
    listed: Any = message.get("headers")
    rows = cast("list[object]", listed) if isinstance(listed, list) else []
    pairs = [(object_of(row).get("name"), object_of(row).get("value")) for row in rows]
    return {name.lower(): value for name, value in pairs if isinstance(name, str) and isinstance(value, str)}


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
