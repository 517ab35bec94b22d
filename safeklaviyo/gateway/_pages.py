"""The gateway's own pages, under ``/-/``.

| page | answers |
|---|---|
| ``health`` | is the process alive? |
| ``ready`` | does the map answer, so that calls can be decided? |
| ``decisions`` | what were the last thousand decisions? |
| ``metrics`` | the counters, for Prometheus |

The last two need the gateway's token. No page shows an identifier.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo.errors import SafeKlaviyoError
from safeklaviyo.gateway._messages import answer, answer_json, header
from safeklaviyo.guard._core import shell_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo.gateway._messages import Send
    from safeklaviyo.guard import Verdict
    from safeklaviyo.guard._core import Core

TOKEN: Final = "safeklaviyo-token"  # noqa: S105 - the header's name
_KEPT: Final = 1_000
_SOON: Final = 1.0
"""Seconds in which the map has to answer for the gateway to be ready."""


class Pages:
    """The gateway's own pages.

    Args:
        core: The guard, with its clients and counters.
        token: What a caller has to present for ``decisions`` and ``metrics``. Without a token these two are off.
    """

    def __init__(self, core: Core, token: str | None) -> None:
        self._core = core
        self._token = token
        self._decisions: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._requests: dict[tuple[str, str, int], int] = {}
        self._seconds = [0.0, 0.0]

    def note(self, verdict: Verdict | None, status: int, overhead: float, upstream: float) -> None:
        """Count one call.

        Args:
            overhead: Seconds that the gateway itself took.
            upstream: Seconds that Klaviyo took.
        """
        key = ("-", "pass", status) if verdict is None else (verdict.operation or "-", verdict.action, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        self._seconds[0] += overhead
        self._seconds[1] += upstream
        if verdict is not None:
            self._decisions.append(
                {
                    "at": verdict.at.isoformat(), "account": verdict.account, "operation": verdict.operation,
                    "action": verdict.action, "rule": verdict.rule, "reason": verdict.reason,
                    "rewritten": list(verdict.rewritten), "status": status,
                }
            )  # fmt: skip

    def has_token(self, headers: Sequence[tuple[str, str]]) -> bool:
        """Tell whether a caller presents the token."""
        given = header(headers, TOKEN)
        return self._token is not None and given is not None and hmac.compare_digest(given, self._token)

    async def show(self, name: str, headers: Sequence[tuple[str, str]], send: Send) -> None:
        """Answer for one page."""
        if name == "health":
            await answer_json(send, 200, {"status": "ok"})
        elif name == "ready":
            is_ready = await self._is_ready()
            await answer_json(send, 200 if is_ready else 503, {"map": "ok" if is_ready else "unavailable"})
        elif name not in {"decisions", "metrics"}:
            await answer_json(send, 404, {"error": "there is no such page"})
        elif not self.has_token(headers):
            await answer_json(send, 403, {"error": f"present the gateway's token as {TOKEN}"})
        elif name == "decisions":
            lines = "".join(json.dumps(each) + "\n" for each in self._decisions)
            await answer(send, 200, [("content-type", "application/jsonl")], lines.encode())
        else:
            await answer(send, 200, [("content-type", "text/plain; version=0.0.4")], self._metrics())

    async def _is_ready(self) -> bool:
        """Tell whether the map of every client answers in time."""
        # The empty account: a client that does not know its account yet can be ready too.
        try:
            async with asyncio.timeout(_SOON):
                for client in self._core.clients.all:
                    await shell_of(client).store.recall("", "gateway")
        except (TimeoutError, SafeKlaviyoError):
            return False
        return True

    def _metrics(self) -> bytes:
        from prometheus_client import CollectorRegistry, Counter, generate_latest  # noqa: PLC0415 - an extra

        # A new registry for each page, because the counts are kept here already; a lasting one would count twice.
        registry = CollectorRegistry()
        requests = Counter(
            "safeklaviyo_gateway_requests", "Calls by operation, action and status", ["operation", "action", "status"],
            registry=registry,
        )  # fmt: skip
        for (operation, action, status), number in self._requests.items():
            requests.labels(operation, action, str(status)).inc(number)
        seconds = Counter(
            "safeklaviyo_gateway_seconds", "Seconds of calls by where they went", ["in"], registry=registry
        )
        for where, spent in zip(("gateway", "klaviyo"), self._seconds, strict=True):
            seconds.labels(where).inc(spent)
        guard = Counter("safeklaviyo_guard", "What the guard has counted", ["what"], registry=registry)
        for what, number in self._core.counters.items():
            guard.labels(what).inc(number)
        text: bytes = generate_latest(registry)
        return text
