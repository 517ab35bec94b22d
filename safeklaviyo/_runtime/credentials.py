"""What a client shows Klaviyo to be let in: a private key, an OAuth access token, or nothing yet.

Decided here: which argument or variable counts, what can stand in a header, and under which name the map may remember
the account of a credential. How a token that is asked for each request is asked for is in `senders.tokens`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

from safeklaviyo._secrets import Secret
from safeklaviyo.errors import ConfigurationError

Ask: TypeAlias = Callable[[], object]

NO_KEY: Final = "there is no API key: pass api_key or access_token, or set KLAVIYO_API_KEY before the client is made"

_NOTHING: Final = Secret("")


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What a client shows.

    Attributes:
        key: The private key; empty if there is none.
        authorization: The header's value for all requests; None if there is none, or if it is asked for.
        ask: Returns the access token for one request; None if that is not asked for.
        fingerprint: A digest of the key, under which the map remembers the account. None for access tokens, which
            change, and may be another shop's next time: the account is then asked of Klaviyo once for each client.
    """

    key: Secret = _NOTHING
    authorization: Secret | None = None
    ask: Ask | None = None
    fingerprint: str | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether there is neither a key nor a token."""
        return self.authorization is None and self.ask is None


def credentials(api_key: object, access_token: object) -> Credentials:
    """Return what a client shows. A key or a token that is given switches ``KLAVIYO_API_KEY`` off.

    Raises:
        ConfigurationError: Both are given, or one cannot stand in a header. The message never quotes it (P8).
    """
    if access_token is None:
        return _of_key(api_key)
    if api_key is not None:
        raise ConfigurationError("pass api_key or access_token, not both")
    if callable(access_token):
        return Credentials(ask=access_token)
    return Credentials(authorization=bearer(access_token))


def bearer(token: object) -> Secret:
    """Return the header's value for an access token.

    Raises:
        ConfigurationError: The token is no text, or has characters that no token has.
    """
    if not isinstance(token, str) or not token.strip():
        raise ConfigurationError(
            "access_token has to be a text, or a callable that returns one; only AsyncKlaviyo awaits it"
        )
    return Secret(f"Bearer {_checked(token, 'the access token', 'token').reveal()}")


def _of_key(api_key: object) -> Credentials:
    if api_key is None:
        api_key = (os.environ.get("KLAVIYO_API_KEY") or "").strip()
        # No error yet: a module that makes a client can then be imported where the key is not set, as in CI.
        if not api_key:
            return Credentials()
    if not isinstance(api_key, str) or not api_key.strip():
        raise ConfigurationError("the API key is empty, or no text; without api_key, KLAVIYO_API_KEY is used")
    key = _checked(api_key, "the API key", "key")
    digest = sha256(key.reveal().encode()).hexdigest()[:16]
    return Credentials(key, Secret(f"Klaviyo-API-Key {key.reveal()}"), fingerprint=digest)


def _checked(given: str, name: str, kind: str) -> Secret:
    given = given.strip()
    # A line break in a header would end it and begin another one. The message must not quote the secret (P8).
    if not given.isascii() or not given.isprintable() or " " in given:
        raise ConfigurationError(f"{name} has characters that no {kind} has")
    return Secret(given)
