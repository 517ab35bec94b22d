"""What calls about many people return. A row that is refused costs no other row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from safeklaviyo.errors import SafeKlaviyoError

OnRefused: TypeAlias = Callable[[int, Mapping[str, Any], SafeKlaviyoError], object]
"""Called with the number of a row (from 0), the row, and the error that says why it was not accepted."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of the rows of a call about many people.

    Attributes:
        total: How many rows there were.
        accepted: How many Klaviyo has accepted, or needed not to be sent, because everything was so already.
        refused: How many were refused, by this library or by Klaviyo; `on_refused` was told each.
        unknown: How many Klaviyo may have accepted or not; `on_refused` was told each, and the same row may be sent
            again, because its error says so (`may_retry`).
        job_ids: Klaviyo's jobs that carry them out, where it names them.
    """

    total: int
    accepted: int
    refused: int
    unknown: int = 0
    job_ids: tuple[str, ...] = ()
