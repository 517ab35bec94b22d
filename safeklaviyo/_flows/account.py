"""Noticing that a key belongs to another account than the map in use, or than a worker.

Klaviyo sends the account's id with each answer. A simulator, a mock or a proxy may leave it out: then nothing is
concluded. Nor is it where the map's namespace is a name of the shop's own, and not an account's id.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from safeklaviyo._accounts import ID
from safeklaviyo._api.accounts import get_account
from safeklaviyo._api.responses import UnreadableAnswer, is_success, read_account_id
from safeklaviyo._sending.retry import transmit

if TYPE_CHECKING:
    from safeklaviyo._api.messages import Response
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call, Setup

logger = logging.getLogger("safeklaviyo")

_FORBIDDEN: Final = frozenset({403})


def notice_account(call: Call, response: Response) -> None:
    """Warn once where an answer names another account than this client's.

    It is a warning and no error: the request is answered by then, and a write that Klaviyo has carried out must not be
    reported as a failure. `safeklaviyo doctor` fails for it.
    """
    named = response.headers.get("cid", "")
    if named in {call.account, call.setup.shared.answered_for}:
        return
    if _are_ids(named, call.account):
        call.setup.shared.answered_for = named
        logger.warning(
            "the key is of the account %s, and this client's account is %s: two accounts must not share a map",
            named, call.account, extra={"operation": call.operation, "account": call.account},
        )  # fmt: skip


def other_account(setup: Setup) -> Flow[str | None]:
    """Ask Klaviyo for the key's account, and return it if it is not this client's; None if it is, or is not known.

    The account of this client is known already.

    Raises:
        SafeKlaviyoError: Klaviyo does not answer now, or does not accept the key.
    """
    own = setup.shared.account or ""
    if not ID.fullmatch(own):
        return None
    exchange = yield from transmit(setup.line, get_account(), accept=_FORBIDDEN)
    if not is_success(exchange.response.status):
        return None
    try:
        named = read_account_id(exchange.response)
    except UnreadableAnswer:
        return None
    return named if named != own and _are_ids(named, own) else None


def _are_ids(*names: str) -> bool:
    return all(ID.fullmatch(each) for each in names)
