"""Requests and answers: how each dialect says them, what an answer means, and how they travel."""

from types import SimpleNamespace

from safeklaviyo._api import accounts, bodies, events, legacy, paths, profiles, raw, refusals, responses
from safeklaviyo._api.dialects import CurrentDialect, Dialect, LegacyDialect
from safeklaviyo._api.messages import Answer, Endpoint, Repeat, Request, Response
from safeklaviyo._api.refusals import ERRORS, error_class, error_from
from safeklaviyo._api.responses import UnreadableAnswer
from safeklaviyo._runtime import server as targets
from safeklaviyo._runtime.senders import awaited, client, failures, own, proxies, sockets, timeouts, tokens
from safeklaviyo._runtime.senders import bodies as answer_bodies
from safeklaviyo._runtime.senders.answers import Answer as OneAnswer
from safeklaviyo._runtime.senders.exchanges import AsyncExchange, Exchange
from safeklaviyo._runtime.server import Target
from safeklaviyo._secrets import Secret

current = SimpleNamespace(
    **{
        name: value
        for module in (paths, bodies, accounts, events, profiles, responses, refusals, raw)
        for name, value in vars(module).items()
        if not name.startswith("_")
    }
)
"""All that the current dialect says and reads, in all its modules."""

answers = SimpleNamespace(
    **{
        name: value
        for module in (responses, refusals)
        for name, value in vars(module).items()
        if not name.startswith("_")
    }
)
"""All that reads an answer."""

senders = SimpleNamespace(
    **{
        name: value
        for module in (awaited, answer_bodies, client, failures, own, proxies, sockets, timeouts, tokens)
        for name, value in vars(module).items()
        if not name.startswith("_")
    }
)
"""All that the senders bring, wherever it stands."""


def target(base: str, key: str = "pk_0123456789abcdef") -> Target:
    """Return where requests go, with a key."""
    return targets.target(base, {"Authorization": f"Klaviyo-API-Key {key}"})


SECONDS = timeouts.timeouts(5.0)
"""The time of an attempt that no test waits for."""


__all__ = [
    "ERRORS",
    "SECONDS",
    "Answer",
    "AsyncExchange",
    "CurrentDialect",
    "Dialect",
    "Endpoint",
    "Exchange",
    "LegacyDialect",
    "OneAnswer",
    "Repeat",
    "Request",
    "Response",
    "Secret",
    "Target",
    "UnreadableAnswer",
    "answers",
    "current",
    "error_class",
    "error_from",
    "legacy",
    "senders",
    "target",
    "targets",
]
