"""`KlaviyoSimulator`: the steps of a request.

In this order: a fault before the request, the path, the method, the key, the rate limit, the body's type, the revision,
the endpoint, a fault after the request, the journal. Nothing here does I/O: `transports` and
`safeklaviyo.testing.server` wrap `KlaviyoSimulator.handle`.
"""

from __future__ import annotations

from copy import copy, deepcopy
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, Self

from safeklaviyo.testing.simulator import legacy_endpoints, requests, revisions, routes
from safeklaviyo.testing.simulator.accounts import Account, Lag
from safeklaviyo.testing.simulator.clocks import Clock
from safeklaviyo.testing.simulator.faults import Broken, Fault, Faults, When, encoded
from safeklaviyo.testing.simulator.limits import Windows
from safeklaviyo.testing.simulator.outside import Outside
from safeklaviyo.testing.simulator.readings import Readings
from safeklaviyo.testing.simulator.records import Answer, Asked, Entry, form
from safeklaviyo.testing.simulator.refusals import Refusal, json_answer, request_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from contextlib import AbstractContextManager

    import respx

    from safeklaviyo.testing.clients import Klaviyo
    from safeklaviyo.testing.server import ASGIApp
    from safeklaviyo.testing.simulator.transports import Transport


class KlaviyoSimulator(Outside):
    """A pretend Klaviyo: one account, both dialects, its delays, its limits and its failures.

    Safe to share between threads. A deep copy shares nothing with the original.

    Args:
        readings: The answers to what Klaviyo has not confirmed.
        keys: The private keys it accepts; None for every one that begins with ``pk_``.
        account: The account's id, which is also its public key.
        legacy: Whether the retired Track, Identify and People endpoints answer as they did.
        search_lag: How late the search is, in seconds of the clock. A read by profile id never is.
        queue_lag: When accepted events, merges and deletions are done, in seconds of the clock.
        consent_lag: When accepted subscriptions, withdrawals and suppressions are done; None for `queue_lag`.
        rate_limits: Whether to count requests, and to refuse those that are too many.
        clock: ``"virtual"`` stands until `advance`; ``"real"`` runs.
        start: The first time, in unix seconds; None for now.

    Attributes:
        readings: As given.
        journal: Every request, in order.
    """

    def __init__(
        self,
        readings: Readings | None = None,
        *,
        keys: Collection[str] | None = None,
        account: str = "SiMuLa",
        legacy: Literal["gone", "alive"] = "gone",
        search_lag: Lag = 0.0,
        queue_lag: Lag = "until_drain",
        consent_lag: Lag | None = None,
        rate_limits: bool = False,
        clock: Literal["virtual", "real"] = "virtual",
        start: float | None = None,
    ) -> None:
        self.readings = readings or Readings()
        self.journal: list[Entry] = []
        self._keys = None if keys is None else frozenset(keys)
        self._legacy_is_alive = legacy == "alive"
        self._clock = Clock(start, real=clock == "real")
        self._account = Account(
            account,
            self.readings,
            self._clock,
            search_lag=search_lag,
            queue_lag=queue_lag,
            consent_lag=queue_lag if consent_lag is None else consent_lag,
        )
        self._windows = Windows() if rate_limits else None
        self._faults = Faults()
        self._serial = 0
        self._lock = RLock()

    def __repr__(self) -> str:
        return f"KlaviyoSimulator({len(self._account.live)} profiles, {len(self._account.events)} events)"

    def __getstate__(self) -> dict[str, Any]:
        # A lock cannot be pickled; a process that gets the simulator makes a new one.
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = RLock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = memo[id(self)] = copy(self)
        with self._lock:
            # The journal's entries are values, so a copy of the list is enough.
            state = {name: deepcopy(vars(self)[name], memo) for name in ("_clock", "_account", "_windows", "_faults")}
            vars(copied).update(state, journal=self.journal.copy())
        return copied

    @property
    def transport(self) -> Transport:
        """A transport for ``httpx.Client`` and for ``httpx.AsyncClient``."""
        from safeklaviyo.testing.simulator.transports import Transport  # noqa: PLC0415 - httpx only where it is used

        return Transport(self)

    def mock(self) -> respx.MockRouter:
        """Return a respx router, as context manager or decorator, that answers requests for Klaviyo from here.

        The router works for this library's clients, for httpx's own transports, and for httpx-aiohttp's. Routes of your
        own come before the simulator.

        Raises:
            RuntimeError: respx is not installed.
        """
        try:
            from safeklaviyo.testing.simulator.mocking import Router  # noqa: PLC0415 - respx is optional
        except ImportError as exc:
            raise RuntimeError("the simulator's mock needs respx: pip install respx") from exc
        return Router(self)

    def client(self, **options: Any) -> Klaviyo:
        """Return a client of this simulator's: what it sends is answered from here.

        Args:
            options: Those of `Klaviyo`; the map is in memory unless a store is given.
        """
        from safeklaviyo.testing.clients import client  # noqa: PLC0415 - the simulator itself needs no client

        return client(self, **options)

    @property
    def asgi(self) -> ASGIApp:
        """The simulator as an ASGI application."""
        from safeklaviyo.testing.server import ASGIApp  # noqa: PLC0415 - asyncio only where it is used

        return ASGIApp(self)

    def serve(self, port: int = 0) -> AbstractContextManager[str]:
        """Serve it on loopback in a thread, and yield the base URL.

        Args:
            port: 0 for any that is free.

        Raises:
            RuntimeError: uvicorn is not installed.
            OSError: The port is taken.
        """
        from safeklaviyo.testing.server import serve  # noqa: PLC0415 - uvicorn is optional

        return serve(self, port)

    def handle(self, method: str, path_with_query: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Answer one request.

        Raises:
            ConnectionRefused: An injected failure: nothing was sent.
            ConnectionLost: An injected failure: no whole answer came back.
        """
        with self._lock:
            # What is due is done before the request is answered, because Klaviyo does not wait for requests.
            self._account.catch_up()
            found, asked = requests.read(method, path_with_query, headers, body, self._clock.now())
            fault = self._faults.take(asked)
            # The journal is written in any case: it also has the requests that got no answer.
            committed, status = False, None
            try:
                if fault is not None and fault.when == "before":
                    # The request is not carried out. The answer is replaced by the fault's, or never comes.
                    answer = fault.spoil(Answer(500))
                else:
                    answer = self._answer(found, asked)
                    committed = requests.is_committed(found, asked, answer)
                    answer = answer if fault is None else fault.spoil(answer)
                status = answer.status
            finally:
                self.journal.append(requests.entry(asked, status, committed=committed))
            return answer

    def _answer(self, found: list[routes.Route], asked: Asked) -> Answer:
        self._serial += 1
        quota: dict[str, str] = {}
        revision = revisions.LATEST
        try:
            route = requests.chosen(found, asked)
            # Before all else: a legacy endpoint has no revision and no limits, and its key is in the query or the body.
            if route.legacy:
                return self._answer_legacy(route, asked)
            self._check_key(asked)
            # The limits before the body: a request that is too many is not read.
            if self._windows is not None:
                counted, allowed = routes.limits(route, asked, self.readings)
                taken = self._windows.take(asked.headers["authorization"], counted, allowed, asked.at)
                if isinstance(taken, Answer):
                    return replace(taken, headers={**taken.headers, **self._signs(found, revision)})
                quota = taken
            requests.check_type(asked)
            revision = revisions.effective(asked.headers, self.readings)
            answer = route.answer(self._account, replace(asked, revision=revision))
        except Refusal as refusal:
            answer = refusal.answer(self._serial)
            if refusal.status == 401:
                quota = {"www-authenticate": "Bearer, Klaviyo-API-Key"}
        return replace(answer, headers={**answer.headers, **self._signs(found, revision), **quota})

    def _signs(self, found: list[routes.Route], revision: str) -> dict[str, str]:
        """Return the headers by which Klaviyo signs each of its answers."""
        methods = sorted({method for route in found for method in route.methods})
        signs = {
            "allow": ", ".join((*methods, "HEAD", "OPTIONS")),
            "cid": self._account.id,
            "x-klaviyo-api-revision": revision,
            "x-klaviyo-req-id": request_id(self._serial),
        }
        ends = revisions.retirement(revision)
        return signs if ends is None else {**signs, "x-klaviyo-api-retirement-date": ends}

    def _answer_legacy(self, route: routes.Route, asked: Asked) -> Answer:
        # Without a word about the key: what is retired answers all callers alike.
        if not self._legacy_is_alive:
            return json_answer(self.readings.retired_status, {"message": legacy_endpoints.RETIRED}, "application/json")
        key = asked.query.get("api_key", form(asked.body).get("api_key", ""))
        # Track and Identify take the public key, which is no secret, inside the body.
        if route.name not in {"track", "identify"} and not self._is_known(key):
            return legacy_endpoints.refuse_key(given=bool(key))
        return route.answer(self._account, asked)

    def _check_key(self, asked: Asked) -> None:
        scheme, _, key = asked.headers.get("authorization", "").partition(" ")
        if not scheme:
            code = self.readings.no_credentials
            words = "Authentication credentials were not provided." if code == "not_authenticated" else None
            raise Refusal(401, words, code=code)
        # A token of OAuth may have any form.
        if scheme == "Bearer":
            if not (key if self._keys is None else key in self._keys):
                raise Refusal(401)
        elif scheme != "Klaviyo-API-Key" or not self._is_known(key):
            raise Refusal(401, code="not_authenticated")

    def _is_known(self, key: str) -> bool:
        return key.startswith("pk_") if self._keys is None else key in self._keys

    @property
    def pending(self) -> list[str]:
        """Which endpoints accepted what is queued, in order."""
        return [queued.endpoint for queued in self._account.queue]

    def now(self) -> float:
        """Return the simulator's time, in unix seconds."""
        return self._clock.now()

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what is due."""
        with self._lock:
            self._clock.advance(seconds)
            self._account.catch_up()

    def step(self, index: int = 0) -> None:
        """Do one of the queued tasks, out of turn if asked to.

        Args:
            index: Its index in `pending`.
        """
        with self._lock:
            self._account.step(index)

    def drain(self) -> None:
        """Do everything that is queued, and let the search see it."""
        with self._lock:
            self._account.drain()

    def fail_next(
        self,
        where: str | None = None,
        *,
        status: int | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        when: When = "before",
        times: int = 1,
        match: Callable[[Asked], bool] | None = None,
        broken: Broken | None = None,
        delay: float = 0.0,
    ) -> None:
        """Let the next requests fail. With neither a status nor a delay, the connection is lost.

        Args:
            where: The endpoint in Klaviyo's words, such as ``create_event``; None for any.
            status: What is answered instead.
            body: Of that answer: bytes, text, or JSON; None for Klaviyo's own error body.
            headers: Of that answer, besides the content type.
            when: ``"before"``: the request is not carried out. ``"after"``: it is.
            times: How many requests fail.
            match: Which requests are meant; None for each.
            broken: ``"lost"``: no answer comes. ``"refused"``: there is no connection. ``"truncated"``: half comes.
            delay: Seconds until the answer comes; a client with less patience has timed out.

        Raises:
            ValueError: The fault could never happen, or part of it would be ignored.
        """
        if where is not None and where not in routes.NAMES:
            raise ValueError(f"where is one of {', '.join(sorted(routes.NAMES))}")
        if status is None and not delay:
            broken = broken or "lost"
        # A slow answer is a real one, so the request is carried out first.
        if status is None and broken is None:
            when = "after"
        fault = Fault(where, status, encoded(body), dict(headers or {}), when, match, broken, delay)
        with self._lock:
            self._faults.add(fault, times)
