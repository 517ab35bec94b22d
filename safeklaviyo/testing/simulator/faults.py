"""Injected failures: which request fails, before or after Klaviyo carries it out, and what its sender sees."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from safeklaviyo.testing.simulator.records import Answer, Asked, ConnectionLost, ConnectionRefused, Record
from safeklaviyo.testing.simulator.refusals import Refusal, throttled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

When = Literal["before", "after"]
Broken = Literal["lost", "refused", "truncated"]


@dataclass(frozen=True, slots=True)
class Fault(Record):
    """One injected failure.

    Attributes:
        where: The endpoint that fails, in Klaviyo's words; None for every one.
        status: What is answered instead; None where the connection breaks or is only slow.
        body: Of that answer; None for Klaviyo's own error body.
        when: ``"before"``: the request is not carried out. ``"after"``: it is.
        match: Decides whether a request of that endpoint fails; None for all.
        broken: How the connection breaks: no answer comes, none was made, or half of the answer comes.
        delay: Seconds until the answer comes.
    """

    where: str | None = None
    status: int | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    when: When = "before"
    match: Callable[[Asked], bool] | None = field(default=None, repr=False)
    broken: Broken | None = None
    delay: float = 0.0

    def meets(self, asked: Asked) -> bool:
        """Whether this request fails."""
        return self.where in {None, asked.endpoint} and (self.match is None or self.match(asked))

    def spoil(self, answer: Answer) -> Answer:
        """Return what arrives instead of an answer.

        Raises:
            ConnectionRefused: The fault is that no connection is made.
            ConnectionLost: The fault is that the connection breaks.
        """
        if self.broken == "refused":
            raise ConnectionRefused("there is no connection")
        if self.broken is not None:
            raise ConnectionLost(answer if self.broken == "truncated" else None)
        if self.status is not None:
            answer = self._own(self.status)
        return replace(answer, delay=self.delay)

    def _own(self, status: int) -> Answer:
        usual = throttled(1) if status == 429 else Refusal(status).answer()
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.body is None:
            return Answer(status, {**usual.headers, **headers}, usual.body)
        return Answer(status, {"content-type": _content_type(self.body), **headers}, self.body)


class Faults:
    """The failures still to come, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._next: list[tuple[Fault, int]] = []

    def add(self, fault: Fault, times: int) -> None:
        """Let the next requests that match the fault fail, as many as `times` says.

        Raises:
            ValueError: The fault could never happen, or part of it would be ignored.
        """
        # Refused now: a test with a fault that cannot happen would pass without testing anything.
        if times < 1:
            raise ValueError("times is the number of requests that fail: at least 1")
        if fault.status is None and (fault.body is not None or fault.headers):
            raise ValueError("a body and headers belong to an answer: give its status")
        if fault.broken is not None and (fault.status is not None or fault.delay):
            raise ValueError("a connection that breaks brings no answer: give neither a status nor a delay")
        if fault.broken == "refused" and fault.when == "after":
            raise ValueError("a refused connection brings no request: use broken='lost'")
        if fault.broken == "truncated" and fault.when == "before":
            raise ValueError("a truncated answer was made: use when='after'")
        self._next.append((fault, times))

    def take(self, asked: Asked) -> Fault | None:
        """Return the failure of a request, if it fails."""
        # The first one that matches, so that failures come in the order in which a test has asked for them.
        for index, (fault, times) in enumerate(self._next):
            if fault.meets(asked):
                self._next[index : index + 1] = [(fault, times - 1)] if times > 1 else []
                return fault
        return None


def encoded(body: Any) -> bytes | None:
    """Return a body given as bytes, text or JSON as bytes."""
    if body is None or isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _content_type(body: bytes) -> str:
    return "application/vnd.api+json" if body[:1] in {b"{", b"["} else "text/html; charset=utf-8"
