"""Requests and answers, without a host, a key or an HTTP library."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Answer(Enum):
    """What an endpoint is documented to answer. Any other answer is not Klaviyo's (`responses.is_from_klaviyo`)."""

    DOCUMENT = "a JSON:API document with data"
    RECEIPT = "202 or 204 without a body, or a document"
    ANY = "a JSON:API document, or nothing"
    LEGACY_RECEIPT = "1, or 0"
    LEGACY_OBJECT = "a JSON object with an id"


class Repeat(Enum):
    """What repeating a request can do. `_sending.failures` decides by it whether a failed request is repeated."""

    READ = "read"
    IDEMPOTENT = "idempotent write"
    KEYED = "keyed event"
    ONCE = "non-idempotent write"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint of Klaviyo, and how often it may be called (Klaviyo's rate limits: fixed windows, per account).

    Attributes:
        burst: Requests in a second.
        steady: Requests in a minute.
        answer: The form of a successful answer.
    """

    name: str
    burst: int
    steady: int
    answer: Answer = Answer.DOCUMENT


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """One HTTP request, before it has a host, a key or a timeout.

    Attributes:
        path: Absolute and already percent-encoded, with the query if there is one.
        body: The encoded body, or None.
        content_type: The body's type.
        headers: Those that the caller has set, by lower-case name. They go before the client's own.
    """

    method: str
    path: str
    endpoint: Endpoint
    repeat: Repeat
    body: bytes | None = None
    content_type: str = "application/vnd.api+json"
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        # The path's query and the body hold personal data.
        return f"Request({self.method} {self.path.partition('?')[0]})"


@dataclass(frozen=True, repr=False)
class Response:
    """One HTTP answer, read whole.

    Attributes:
        headers: By lower-case name.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def json(self) -> object:
        """The body, parsed once and never changed; None where it is no JSON, such as a web page or half an answer."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def __repr__(self) -> str:
        return f"Response({self.status})"
