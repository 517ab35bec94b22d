"""The same shop written twice: with plain HTTP calls, and with `Klaviyo`.

`RawShop` does, call by call, what Klaviyo's reference shows and what published integrations do. It retries as Klaviyo
asks, and is in no point worse than they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import httpx

from safeklaviyo.errors import IdOnlyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from safeklaviyo import Klaviyo
    from safeklaviyo.demo.script import Call

_ATTEMPTS = 4


class Shop(Protocol):
    """One way to write a shop."""

    def perform(self, call: Call, worker: int = 0) -> None:
        """Make one call."""
        ...

    def catch_up(self) -> None:
        """Repeat the calls that had to wait."""
        ...


class RawShop:
    """A shop that calls Klaviyo's endpoints itself.

    Args:
        http: A client with the host and the key.
        wait: Waits, given the seconds, before another attempt.
    """

    def __init__(self, http: httpx.Client, wait: Callable[[float], object]) -> None:
        self._http = http
        self._wait = wait

    def perform(self, call: Call, worker: int = 0) -> None:  # noqa: ARG002 - both workers run the same code
        """See `Shop.perform`."""
        if call.verb == "track":
            self._track(call)
        else:
            self._import(call)

    def catch_up(self) -> None:
        """Nothing waits here: every call counts as done once it was answered."""

    def _track(self, call: Call) -> None:
        # The reference of Create Event requires no unique_id, and integrations leave it out. Then two events of one
        # metric in a second count once (F-17), and an event that is repeated after an unknown outcome counts twice
        # (F-19).
        attributes = {
            "properties": {"reference": call.reference},
            "metric": {"data": {"type": "metric", "attributes": {"name": call.event}}},
            "profile": {"data": {"type": "profile", "attributes": _identifiers(call)}},
        }
        self._send("POST", "/api/events", {"type": "event", "attributes": attributes})

    def _import(self, call: Call) -> None:
        # Klaviyo's Profiles API overview recommends Create or Update Profile, for a changed address too.
        attributes = _identifiers(call)
        answer = self._send("POST", "/api/profile-import", {"type": "profile", "attributes": attributes})
        if answer.status_code == 409:
            # As integrations do: write to the profile that the conflict names, which may be another customer's (F-1).
            # If that is refused too, the data is lost without a word (F-2).
            owner = answer.json()["errors"][0]["meta"]["duplicate_profile_id"]
            data = {"type": "profile", "id": owner, "attributes": attributes}
            self._send("PATCH", f"/api/profiles/{owner}", data)

    def _send(self, method: str, path: str, data: dict[str, Any]) -> httpx.Response:
        for _ in range(_ATTEMPTS - 1):
            try:
                answer = self._http.request(method, path, json={"data": data})
            except httpx.TransportError:
                self._wait(1.0)
                continue
            if answer.status_code not in {429, 503}:
                return answer
            self._wait(float(answer.headers.get("retry-after", "1")))
        return self._http.request(method, path, json={"data": data})


class SafeShop:
    """A shop that uses `Klaviyo`, with a queue for events that have to wait until the customer has a profile.

    Args:
        workers: A client for each worker.

    Attributes:
        postponed: How many events had to wait.
    """

    def __init__(self, workers: Sequence[Klaviyo]) -> None:
        self._workers = workers
        self._queue: list[tuple[Call, IdOnlyError]] = []
        self.postponed = 0

    def perform(self, call: Call, worker: int = 0) -> None:
        """See `Shop.perform`."""
        klaviyo = self._workers[worker]
        if call.verb == "identify":
            klaviyo.identify(external_id=call.external_id, email=call.email, phone_number=call.phone_number)
        elif call.verb == "change_email":
            assert call.email is not None
            klaviyo.change_email(call.email, external_id=call.external_id)
        else:
            self._track(klaviyo, call)

    def catch_up(self) -> None:
        """Repeat the events that had to wait, with the `unique_id` and `time` that their errors carry (P5)."""
        waiting, self._queue = self._queue, []
        for call, error in waiting:
            self._track(self._workers[0], call, unique_id=error.unique_id, time=error.time)

    def _track(
        self, klaviyo: Klaviyo, call: Call, *, unique_id: str | None = None, time: datetime | None = None
    ) -> None:
        try:
            klaviyo.track(
                call.event,
                external_id=call.external_id,
                email=call.email,
                properties={"reference": call.reference},
                unique_id=unique_id,
                time=time,
            )
        except IdOnlyError as error:
            self.postponed += unique_id is None
            self._queue.append((call, error))


def _identifiers(call: Call) -> dict[str, str]:
    given = {"external_id": call.external_id, "email": call.email, "phone_number": call.phone_number}
    return {name: value for name, value in given.items() if value is not None}
