"""Noticing that a key belongs to another account than the map in use.

Klaviyo sends the account's id with each answer. A simulator, a mock or a proxy may leave it out: then nothing is
concluded. Nor is it where the map's namespace is a name of the shop's own, and not an account's id.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from safeklaviyo._api.messages import Response
    from safeklaviyo._flows.call import Call

logger = logging.getLogger("safeklaviyo")

_ACCOUNT = re.compile(r"[A-Za-z0-9]{6}")


def notice_account(call: Call, response: Response) -> None:
    """Warn once where an answer names another account than this client's.

    It is a warning and no error: the request is answered by then, and a write that Klaviyo has carried out must not be
    reported as a failure. `safeklaviyo doctor` fails for it.
    """
    named = response.headers.get("cid", "")
    if named in {call.account, call.setup.shared.answered_for}:
        return
    if _ACCOUNT.fullmatch(named) and _ACCOUNT.fullmatch(call.account):
        call.setup.shared.answered_for = named
        logger.warning(
            "the key is of the account %s, and this client's account is %s: two accounts must not share a map",
            named, call.account, extra={"operation": call.operation, "account": call.account},
        )  # fmt: skip
