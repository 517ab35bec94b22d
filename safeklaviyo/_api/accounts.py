"""Requests about the account, in the current dialect."""

from __future__ import annotations

from safeklaviyo._api.messages import Repeat, Request
from safeklaviyo._api.paths import ACCOUNTS, ACCOUNTS_PATH


def get_account() -> Request:
    """Ask which account the key belongs to."""
    return Request("GET", ACCOUNTS_PATH, ACCOUNTS, Repeat.READ)
