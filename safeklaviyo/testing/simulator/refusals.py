"""Klaviyo's error bodies, by status and code (Klaviyo's *Rate limits and error handling*)."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from safeklaviyo.testing.simulator.records import Answer

CONTENT_TYPE = "application/vnd.api+json"
RATE_LIMITS_PAGE = "https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling#rate-limits"
CLOUDFLARE_PAGE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>"
"""A page that a proxy before Klaviyo answers with 403 now and then, in place of JSON (F-34)."""

_WORDS = {
    400: ("invalid", "Invalid input.", "Invalid input."),
    401: ("authentication_failed", "Incorrect authentication credentials.", "Incorrect authentication credentials."),
    403: (
        "permission_denied",
        "You do not have permission to perform this action.",
        "You do not have permission to perform this action.",
    ),
    404: ("not_found", "Not found.", "Not found."),
    405: ("method_not_allowed", "Method not allowed.", "Method not allowed."),
    409: ("duplicate_profile", "Conflict.", "A profile already exists with one of these identifiers."),
    410: ("gone", "Gone.", "This revision has been retired."),
    413: ("payload_too_large", "Payload too large.", "The payload is larger than 5 MB."),
    415: ("unsupported_media_type", "Unsupported media type.", "Unsupported media type in request."),
    429: ("throttled", "Request was throttled.", "Request was throttled. Expected available in 1 second."),
    500: ("error", "A server error occurred.", "A server error occurred."),
    503: ("service_unavailable", "Service unavailable.", "Service temporarily unavailable, try again later."),
}


_NO_KEY = ("not_authenticated", "Authentication credentials were not provided.", "Missing or invalid private key.")
_BARE = frozenset({401, 404})
"""Their errors have neither links nor meta."""


class Refusal(Exception):  # noqa: N818 - an answer, not an error of the simulator
    """An error answer. It is raised before anything is changed.

    Args:
        pointer: Where in the body the fault is.
        parameter: Which query parameter is at fault, instead.
        meta: Klaviyo's further words, such as ``duplicate_profile_id``.
    """

    def __init__(
        self,
        status: int,
        detail: str | None = None,
        *,
        code: str | None = None,
        pointer: str = "/data/",
        parameter: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        # Without the detail, which may quote an identifier (P8).
        super().__init__(f"refused with {status}")
        self.status = status
        self.detail = detail
        self.code = code
        self.source = {"parameter": parameter} if parameter else {"pointer": pointer}
        self.meta = meta or {}

    def words(self) -> tuple[str, str, str]:
        """Return the code, the title and the detail."""
        code, title, detail = _NO_KEY if self.code == _NO_KEY[0] else _WORDS.get(self.status, _WORDS[500])
        return self.code or code, title, self.detail or detail

    def answer(self, serial: int = 0, links: dict[str, str] | None = None) -> Answer:
        """Return it as an answer.

        Args:
            serial: A number that makes the error's id unique.
        """
        code, title, detail = self.words()
        error: dict[str, Any] = {
            "id": request_id(serial),
            "status": self.status,
            "code": code,
            "title": title,
            "detail": detail,
            "source": self.source,
        }
        if self.status not in _BARE:
            error |= {"links": links or {}, "meta": self.meta}
        return json_answer(self.status, {"errors": [error]})


def request_id(serial: int) -> str:
    """Return the id of a request, which its error has too."""
    return str(UUID(int=serial + (0x51 << 120), version=4))


def invalid(detail: str, pointer: str) -> Refusal:
    """Return the refusal of something in a body."""
    return Refusal(400, detail, pointer=pointer)


def invalid_parameter(detail: str, parameter: str) -> Refusal:
    """Return the refusal of something in a query."""
    return Refusal(400, detail, parameter=parameter)


def missing(profile_id: str, pointer: str = "/data/") -> Refusal:
    """Return the refusal of an unknown profile id."""
    return Refusal(404, f"A profile with id {profile_id} does not exist.", pointer=pointer)


def conflict(owner: str) -> Refusal:
    """Return the refusal of an identifier that is another profile's."""
    return Refusal(409, pointer="/data/attributes", meta={"duplicate_profile_id": owner})


def throttled(seconds: int, serial: int = 0) -> Answer:
    """Return the answer to one request too many."""
    unit = "second" if seconds == 1 else "seconds"
    refusal = Refusal(429, f"Request was throttled. Expected available in {seconds} {unit}.", pointer="/data")
    # As recorded: a 429 has `retry-after` in place of the headers about the quota.
    plain = refusal.answer(serial, {"type": RATE_LIMITS_PAGE})
    return Answer(429, {**plain.headers, "retry-after": str(seconds)}, plain.body)


def json_answer(status: int, document: Any, content_type: str = CONTENT_TYPE) -> Answer:
    """Return a document as an answer."""
    # JSON may hold half of a surrogate pair, which UTF-8 cannot: it is shown and raises no error.
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    return Answer(status, {"content-type": content_type}, body)
