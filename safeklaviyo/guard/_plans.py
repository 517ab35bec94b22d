"""One request as a hook hands it to the guard, and what the guard makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from safeklaviyo.guard._carry.case import Case
    from safeklaviyo.guard._clients import Guarded
    from safeklaviyo.guard._decide.verdicts import Mode, Verdict
    from safeklaviyo.guard._write.replies import Reply


@dataclass(frozen=True, slots=True, repr=False)
class Incoming:
    """A caller's request.

    Attributes:
        url: In full, with scheme, host and query.
        headers: In their order, names as they were written.
        body: None if the request has no body, or the hook has not read it.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes | None


@dataclass(slots=True, repr=False)
class Plan:
    """What is to be done with a request.

    Attributes:
        method: The method to send.
        url: Where to send it.
        headers: What to send along.
        body: What to send: the caller's own object, if nothing was changed.
        answer: The guard's own answer. If there is one, nothing is sent.
        verdict: What the guard says; None for a request that the guard has nothing to do with.
        case: What is known about the request so far; None as for `verdict`.
        client: The client with the request's key.
        mode: The mode of the request's operation.
        at: When the request came, in UTC.
        started: When the request came, on the monotonic clock.
        site: Where in the shop's code the request comes from.
        is_changed: The guard has replaced the body.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes | None
    answer: Reply | None = None
    verdict: Verdict | None = None
    case: Case | None = None
    client: Guarded | None = None
    mode: Mode = "off"
    at: datetime | None = None
    started: float = 0.0
    site: str | None = None
    is_changed: bool = field(default=False)

    @classmethod
    def to_pass(cls, incoming: Incoming) -> Plan:
        """Return the plan to send a request as it came."""
        return cls(incoming.method, incoming.url, incoming.headers, incoming.body)
