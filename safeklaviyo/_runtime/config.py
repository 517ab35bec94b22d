"""What the arguments of a client mean: the key, the host, the dialect, the account and the place of the map."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from safeklaviyo._api.dialects import CurrentDialect, LegacyDialect
from safeklaviyo._flows.call import Setup
from safeklaviyo._runtime import server as _target
from safeklaviyo._runtime.senders import http as _http
from safeklaviyo._sending.retry import Line
from safeklaviyo._version import VERSION
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.policy import Policy, RetryPolicy
from safeklaviyo.stores import default_url

if TYPE_CHECKING:
    from safeklaviyo._api.dialects import Dialect
    from safeklaviyo._runtime.server import Target

DialectName: TypeAlias = Literal["current", "legacy"]
OnTaken: TypeAlias = Literal["refuse", "merge"]

BASE_URL: Final = "https://a.klaviyo.com"
REVISION: Final = "2026-10-15"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REVISION = re.compile(r"\d{4}-\d{2}-\d{2}(\.pre)?", re.ASCII)

logger = logging.getLogger("safeklaviyo")


@dataclass(frozen=True, slots=True, repr=False)
class Wiring:
    """What follows from a client's arguments; constructing it does no I/O.

    Attributes:
        account: The namespace of the map; None if Klaviyo has to be asked.
        fingerprint: A digest of the key, under which the account is remembered.
    """

    target: Target
    dialect: Dialect
    policy: Policy
    retry: RetryPolicy
    account: str | None
    fingerprint: str

    def setup(self) -> Setup:
        """Return a new state for the calls of one client in one process."""
        seconds, is_klaviyo = self.target.seconds, self.target.is_klaviyo
        return Setup(
            dialect=self.dialect,
            policy=self.policy,
            line=Line(self.retry, attempt=seconds, published=is_klaviyo),
            account=self.account,
            fingerprint=self.fingerprint,
            attempt=seconds,
            drops_test_addresses=is_klaviyo and not self.policy.allow_test_addresses,
        )


def wiring(
    api_key: object,
    *,
    account: object,
    public_key: object,
    policy: object,
    retry: object,
    timeout: object,
    base_url: object,
    revision: object,
    dialect: object,
) -> Wiring:
    """Work out what a client's arguments mean. See `Klaviyo`.

    Raises:
        ConfigurationError: One makes no sense; the message says which, and never what it was.
    """
    # The key first: the headers hold it, and the map's account is remembered under its digest.
    key = _key(api_key)
    asked = _revision(revision)
    target = _target.target(base_url, _headers(key, asked), *_http.limits(timeout))
    namespace, token = _name("account", account), _name("public_key", public_key)
    if not isinstance(policy, Policy) or not isinstance(retry, RetryPolicy):
        raise ConfigurationError("policy has to be a Policy, and retry a RetryPolicy")
    spoken = _dialect(dialect, token, key, asked, is_klaviyo=target.is_klaviyo)
    return Wiring(target, spoken, policy, retry, namespace or token, sha256(key.encode()).hexdigest()[:16])


def _name(argument: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and _NAME.fullmatch(value)):
        return value
    raise ConfigurationError(f"{argument} has to be made of 1 to 64 letters, digits, - and _")


def _key(api_key: object) -> str:
    key = os.environ.get("KLAVIYO_API_KEY") if api_key is None else api_key
    if not isinstance(key, str) or not key.strip():
        raise ConfigurationError("there is no API key: pass api_key, or set KLAVIYO_API_KEY")
    key = key.strip()
    # A line break in a header would end it and begin another one. The message must not quote the key (P8).
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError("the API key has characters that no key has")
    return key


def _revision(revision: object) -> str:
    if not isinstance(revision, str) or not _REVISION.fullmatch(revision):
        raise ConfigurationError("revision has to be a date such as 2026-10-15")
    return revision


def _headers(key: str, revision: str) -> dict[str, str]:
    return {
        "Authorization": f"Klaviyo-API-Key {key}",
        "revision": revision,
        "Accept": "application/vnd.api+json",
        "Accept-Encoding": "gzip",
        "User-Agent": f"safeklaviyo/{VERSION}",
    }


def _dialect(
    dialect: object, public_key: str | None, key: str, revision: str, *, is_klaviyo: bool
) -> CurrentDialect | LegacyDialect:
    if dialect == "current":
        return CurrentDialect(revision)
    if dialect != "legacy":
        raise ConfigurationError('dialect has to be "current" or "legacy"')
    if is_klaviyo:
        raise ConfigurationError(
            'Klaviyo has retired the legacy API and answers 410; use dialect="current", which understands legacy keys'
        )
    if public_key is None:
        raise ConfigurationError("the legacy dialect needs the account's public_key")
    return LegacyDialect(public_key, key)


def store_url(store: object) -> str:
    """Return the URL of the identity map.

    Raises:
        ConfigurationError: It is neither a URL nor nothing.
    """
    if store is None:
        store = os.environ.get("SAFEKLAVIYO_STORE") or None
    # A warning and no error: one host with an SQLite file is a complete installation.
    if store is None:
        _warn_of_default()
        return default_url()
    if not isinstance(store, str):
        raise ConfigurationError(
            "store has to be a URL, or an IdentityStore for Klaviyo and an AsyncIdentityStore for AsyncKlaviyo"
        )
    return store


@cache
def _warn_of_default() -> None:
    """Log the warning once in the life of a process."""
    logger.warning("the identity map is an SQLite file, which serves this host only; pass store= to choose another")
