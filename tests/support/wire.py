"""Requests and answers: how each dialect says them, what an answer means, and how they travel."""

from types import SimpleNamespace

from safeklaviyo._api import accounts, bodies, events, legacy, paths, profiles
from safeklaviyo._api import responses as answers
from safeklaviyo._api.dialects import CurrentDialect, Dialect, LegacyDialect
from safeklaviyo._api.messages import Answer, Endpoint, Repeat, Request, Response
from safeklaviyo._api.responses import ERRORS, UnreadableAnswer, error_class, error_from
from safeklaviyo._runtime import server as targets
from safeklaviyo._runtime.senders import http
from safeklaviyo._runtime.senders import own as transports
from safeklaviyo._runtime.server import Target

current = SimpleNamespace(
    **{
        name: value
        for module in (paths, bodies, accounts, events, profiles, answers)
        for name, value in vars(module).items()
        if not name.startswith("_")
    }
)
"""All that the current dialect says and reads, wherever it stands."""

__all__ = [
    "ERRORS",
    "Answer",
    "CurrentDialect",
    "Dialect",
    "Endpoint",
    "LegacyDialect",
    "Repeat",
    "Request",
    "Response",
    "Target",
    "UnreadableAnswer",
    "answers",
    "current",
    "error_class",
    "error_from",
    "http",
    "legacy",
    "targets",
    "transports",
]
