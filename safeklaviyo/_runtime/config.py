"""What the arguments of a client mean: the key, the host, the dialect, the account and the place of the map."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import cache
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar, cast

from safeklaviyo._accounts import NAME, NO_NAME
from safeklaviyo._api.dialects import CurrentDialect, LegacyDialect
from safeklaviyo._flows.call import Setup, Shared
from safeklaviyo._runtime import server as _target
from safeklaviyo._runtime.credentials import credentials
from safeklaviyo._runtime.senders.timeouts import LONGEST, timeouts
from safeklaviyo._sending.line import Line
from safeklaviyo._version import VERSION
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.policy import Policy, RetryPolicy
from safeklaviyo.stores import default_url
from safeklaviyo.stores.opening import is_postgres, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._api.dialects import Dialect
    from safeklaviyo._runtime.credentials import Credentials
    from safeklaviyo._runtime.senders.timeouts import Timeouts
    from safeklaviyo._runtime.server import Target
    from safeklaviyo._secrets import Secret
    from safeklaviyo.models import Decision

DialectName: TypeAlias = Literal["current", "legacy"]
OnTaken: TypeAlias = Literal["refuse", "merge"]


T = TypeVar("T")


class Same(Enum):
    """The type of `SAME`."""

    SAME = "as it is"

    def __repr__(self) -> str:
        return "SAME"


SAME: Final = Same.SAME
"""Stands for an option that a view does not change. None cannot: it means no limit."""

DEADLINE: Final = 30.0
BASE_URL: Final = "https://a.klaviyo.com"
REVISION: Final = "2026-10-15"

_REVISION = re.compile(r"\d{4}-\d{2}-\d{2}(\.pre)?", re.ASCII)

logger = logging.getLogger("safeklaviyo")


@dataclass(frozen=True, slots=True, repr=False)
class Wiring:
    """What follows from a client's arguments; constructing it does no I/O.

    Attributes:
        deadline: Seconds that a call about one person may take; None for no limit.
        account: The namespace of the map; None if Klaviyo has to be asked.
        on_decision: The caller's function that is told of each decision.
        outbox: The URL of the outbox; None for the map's own database.
    """

    target: Target
    timeouts: Timeouts
    dialect: Dialect
    policy: Policy
    retry: RetryPolicy
    deadline: float | None
    account: str | None
    credentials: Credentials
    on_decision: Callable[[Decision], None] | None = None
    outbox: str | None = None

    def setup(self, *, is_observed: bool = False) -> Setup:
        """Return a new state for the calls of one client in one process."""
        seconds, is_klaviyo = self.timeouts.longest, self.target.is_klaviyo
        return Setup(
            dialect=self.dialect,
            policy=self.policy,
            line=Line(self.retry, attempt=seconds, published=is_klaviyo),
            shared=Shared(self.account),
            fingerprint=self.credentials.fingerprint,
            attempt=seconds,
            drops_test_addresses=is_klaviyo and not self.policy.allow_test_addresses,
            deadline=self.retry.within(self.deadline),
            base=self.target.base,
            is_observed=is_observed,
            has_outbox=True,
        )

    def view_of(self, setup: Setup) -> Setup:
        """Return a state for the calls of a view, which shares pacing, retry budget, account and calls in flight."""
        seconds, line = self.timeouts.longest, setup.line
        if seconds != line.attempt or self.retry is not line.policy:
            line = line.view(self.retry, attempt=seconds)
        return Setup(
            dialect=self.dialect,
            policy=self.policy,
            line=line,
            shared=setup.shared,
            fingerprint=self.credentials.fingerprint,
            attempt=seconds,
            drops_test_addresses=self.target.is_klaviyo and not self.policy.allow_test_addresses,
            deadline=self.retry.within(self.deadline),
            base=self.target.base,
            is_observed=setup.is_observed,
            has_outbox=setup.has_outbox,
        )

    def with_options(self, timeout: object, deadline: object, policy: object, retry: object) -> Wiring:
        """Return the same, but for what is not `SAME`.

        Raises:
            ConfigurationError: An option makes no sense.
        """
        return Wiring(
            self.target,
            self.timeouts if timeout is SAME else timeouts(timeout),
            self.dialect,
            self.policy if policy is SAME else _checked(policy, Policy),
            self.retry if retry is SAME else _checked(retry, RetryPolicy),
            self.deadline if deadline is SAME else _deadline(deadline),
            self.account,
            self.credentials,
            self.on_decision,
            self.outbox,
        )


def wiring(
    api_key: object,
    *,
    access_token: object,
    account: object,
    public_key: object,
    policy: object,
    retry: object,
    timeout: object,
    deadline: object,
    base_url: object,
    revision: object,
    dialect: object,
    on_decision: object = None,
    outbox: object = None,
) -> Wiring:
    """Work out what a client's arguments mean. See `Klaviyo`.

    Raises:
        ConfigurationError: One makes no sense; the message says which, and never what it was.
    """
    # The key first: the headers hold it.
    shown = credentials(api_key, access_token)
    asked = _revision(revision)
    # The legacy endpoints take the public token, or the key as a parameter: the header would carry the key for nothing.
    sent = None if dialect == "legacy" else shown.authorization
    target, limits = _target.target(_base(base_url), _headers(sent, asked)), timeouts(timeout)
    namespace, token = _name("account", account), _name("public_key", public_key)
    decided, tried = _checked(policy, Policy), _checked(retry, RetryPolicy)
    spoken = _dialect(dialect, token, shown, asked, is_klaviyo=target.is_klaviyo)
    own = namespace or token
    told = _callback(on_decision)
    return Wiring(target, limits, spoken, decided, tried, _deadline(deadline), own, shown, told, outbox_url(outbox))


def _checked(given: object, kind: type[T]) -> T:
    if not isinstance(given, kind):
        raise ConfigurationError("policy has to be a Policy, and retry a RetryPolicy")
    return given


def _callback(on_decision: object) -> Callable[[Decision], None] | None:
    if on_decision is None or (callable(on_decision) and not iscoroutinefunction(on_decision)):
        return cast("Callable[[Decision], None] | None", on_decision)
    raise ConfigurationError("on_decision has to be a function, which is called with each decision and not awaited")


def _deadline(deadline: object) -> float | None:
    if deadline is None:
        return None
    if isinstance(deadline, timedelta):
        deadline = deadline.total_seconds()
    if isinstance(deadline, bool) or not isinstance(deadline, int | float) or not 0 < deadline <= LONGEST:
        raise ConfigurationError("deadline has to be a positive number of seconds, or None for no limit")
    return float(deadline)


def _name(argument: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and NAME.fullmatch(value)):
        return value
    raise ConfigurationError(f"{argument} {NO_NAME}")


def _revision(revision: object) -> str:
    if not isinstance(revision, str) or not _REVISION.fullmatch(revision):
        raise ConfigurationError("revision has to be a date such as 2026-10-15")
    return revision


def _base(base_url: object) -> object:
    return (os.environ.get("KLAVIYO_BASE_URL") or BASE_URL) if base_url is None else base_url


def _headers(authorization: Secret | None, revision: str) -> dict[str, str]:
    shown = {} if authorization is None else {"Authorization": authorization.reveal()}
    return {
        **shown,
        "revision": revision,
        "Accept": "application/vnd.api+json",
        "Accept-Encoding": "gzip",
        "User-Agent": f"safeklaviyo/{VERSION}",
    }


def _dialect(
    dialect: object, public_key: str | None, shown: Credentials, revision: str, *, is_klaviyo: bool
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
        raise ConfigurationError("the legacy dialect needs the account's public_key; pass public_key=")
    if shown.fingerprint is None and not shown.is_nothing:
        raise ConfigurationError("the legacy dialect has no access tokens: pass api_key")
    return LegacyDialect(public_key, shown.key)


def store_url(store: object) -> str:
    """Return the URL of the identity map.

    Raises:
        ConfigurationError: The value is neither a URL nor None.
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


def outbox_url(outbox: object) -> str | None:
    """Return the URL of the outbox; None for the map's own database.

    Raises:
        ConfigurationError: The URL names no database that can hold an outbox.
    """
    if outbox is None:
        outbox = os.environ.get("SAFEKLAVIYO_OUTBOX") or None
    if outbox is None:
        return None
    if not isinstance(outbox, str) or not _names_outbox(outbox):
        raise ConfigurationError("outbox has to be a URL such as sqlite:///shop.db or postgresql://host/database")
    return outbox


def _names_outbox(url: str) -> bool:
    try:
        return is_postgres(url) or sqlite_path(url) is not None
    except ConfigurationError:
        return False  # the message would name stores that can hold no outbox


@cache
def _warn_of_default() -> None:
    """Log the warning once in the life of a process."""
    logger.warning("the identity map is an SQLite file, which serves this host only; pass store= to choose another")
