"""Requests and answers: how each dialect says them, what an answer means, and how they travel."""

from safeklaviyo import _answers as answers
from safeklaviyo import _http as http
from safeklaviyo import _target as targets
from safeklaviyo import _transports as transports
from safeklaviyo import _wire as current
from safeklaviyo import _wire_legacy as legacy
from safeklaviyo._answers import ERRORS, UnreadableAnswer, error_class, error_from
from safeklaviyo._dialects import CurrentDialect, Dialect, LegacyDialect
from safeklaviyo._flow import Endpoint, Repeat, Request, Response
from safeklaviyo._target import Target

__all__ = [
    "ERRORS",
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
