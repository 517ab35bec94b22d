"""What the guard needs of a client: its key, its account, its map, and a way to carry out flows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from safeklaviyo._runtime.server import KLAVIYO
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo._client.async_klaviyo import AsyncKlaviyo
    from safeklaviyo._client.klaviyo import Klaviyo
    from safeklaviyo._runtime.config import Wiring

_ACCOUNT: Final = re.compile(r"[A-Za-z0-9]{6}")


class Guarded:
    """One client. The guard decides about the calls of its account.

    Attributes:
        is_async: The client's calls are awaited.
        authorization: The value of the header ``Authorization`` in the account's calls; None for a client without a
            key, and for one that asks for a new token for each request.
        account: The namespace of the map; None until the account is known.
        log_key: The key of the log's hashes; None until the map has given it.
    """

    def __init__(self, client: Klaviyo | AsyncKlaviyo) -> None:
        self.client = client
        self.is_async: bool = hasattr(client, "aclose")
        self.wiring: Wiring = client._wiring  # noqa: SLF001 - the guard is a part of the package
        if not self.wiring.dialect.has_profile_ids:
            raise ConfigurationError('the guard needs clients of the current dialect; pass dialect="current" to them')
        credentials = self.wiring.credentials
        shown = credentials.authorization
        self.authorization: str | None = None if shown is None else shown.reveal()
        self.asks_for_tokens: bool = credentials.ask is not None
        self.account = self.wiring.account
        self.host: str = self.wiring.target.base.partition("://")[2]
        self.log_key: str | None = None

    @property
    def remembered_under(self) -> str | None:
        """The name of the map's note about this client's account."""
        fingerprint = self.wiring.credentials.fingerprint
        return None if fingerprint is None else f"account:{fingerprint}"

    def note_account(self, named: str | None) -> None:
        """Take the account from an answer of Klaviyo's, where it is not known yet."""
        if self.account is None and named is not None and _ACCOUNT.fullmatch(named):
            self.account = named


class Clients:
    """The clients of all accounts that are guarded.

    Attributes:
        hosts: The hosts to which calls are guarded, with a port where there is one.
    """

    def __init__(self, clients: Sequence[Klaviyo | AsyncKlaviyo]) -> None:
        self.all: tuple[Guarded, ...] = tuple(Guarded(client) for client in clients)
        self.hosts: frozenset[str] = frozenset({KLAVIYO, *(each.host for each in self.all)})
        self._by_key = {each.authorization: each for each in self.all if each.authorization is not None}
        asking = [each for each in self.all if each.asks_for_tokens]
        # A token from `ask` changes all the time, so it cannot be looked up. With one such client it must be that
        # client's; with two it could be either's, and a guess could write into the wrong account.
        self._asking = asking[0] if len(asking) == 1 else None

    def is_guarded(self, host: str) -> bool:
        """Tell whether requests to a host are guarded."""
        return host in self.hosts or host.removesuffix(":443") in self.hosts

    def of(self, authorization: str | None) -> Guarded | None:
        """Return the client with the key that a request carries; None for a key of no client."""
        if authorization is None:
            return None
        # A header with other blanks between the scheme and the key carries the same key.
        found = self._by_key.get(authorization) or self._by_key.get(" ".join(authorization.split()))
        if found is None and authorization[:7].lower() == "bearer ":
            return self._asking
        return found
