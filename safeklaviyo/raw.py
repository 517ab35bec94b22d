"""What `Klaviyo.request` returns: Klaviyo's answer as it came."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, repr=False)
class RawResponse:
    """Klaviyo's answer to a request, which succeeded: any other answer is an error.

    Attributes:
        status_code: The HTTP status.
        headers: By lower-case name.
        content: The body, unpacked; empty where there was none.
        request_id: Klaviyo's id of the request, for its support.
    """

    status_code: int
    headers: Mapping[str, str]
    content: bytes
    request_id: str | None

    def json(self) -> Any:
        """Return the body, decoded; None where there was none."""
        return json.loads(self.content) if self.content.strip() else None

    def __repr__(self) -> str:
        # The headers and the content may hold personal data (P8).
        return f"RawResponse({self.status_code})"
