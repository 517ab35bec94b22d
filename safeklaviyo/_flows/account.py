"""Noticing that a key belongs to another account than the one whose map is used.

Klaviyo sends the account's id with each answer. A simulator, a mock or a proxy may leave it out: then nothing is
concluded. Nor is it where the map's namespace is a name of the shop's own, and not an account's id.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from safeklaviyo._api.messages import Response
    from safeklaviyo._flows.call import Call

_ACCOUNT = re.compile(r"[A-Za-z0-9]{6}")


def notice_account(call: Call, response: Response) -> None:
    """Compare the account that an answer names with this client's, and remember where they differ.

    Raises:
        ConfigurationError: They differ.
    """
    named = response.headers.get("cid", "")
    if named != call.account and _ACCOUNT.fullmatch(named) and _ACCOUNT.fullmatch(call.account):
        call.setup.shared.answered_for = named
    check_account(call)


def check_account(call: Call) -> None:
    """Send nothing more once Klaviyo has answered for another account.

    Raises:
        ConfigurationError: It has.
    """
    named = call.setup.shared.answered_for
    if named is not None:
        raise ConfigurationError(f"the key is of the account {named}, and this client's account is {call.account}")
