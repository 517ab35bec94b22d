"""The command that checks whether the client can work here, one line for each check.

Decided here: which findings are failures and which only warnings. Neither the key nor the store's URL is printed (P8).
"""

from __future__ import annotations

import os
import platform
import time
from contextlib import closing
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from safeklaviyo._api.accounts import get_account
from safeklaviyo._api.responses import UnreadableAnswer, is_success, read_account_id
from safeklaviyo._flows.outbox.keep import counts_if_any
from safeklaviyo._runtime.config import DEADLINE, REVISION, outbox_url, wiring
from safeklaviyo._runtime.shell import Shell
from safeklaviyo._sending.retry import transmit
from safeklaviyo._version import VERSION
from safeklaviyo.cli._console import say
from safeklaviyo.cli._map import open_client, store_url
from safeklaviyo.errors import APIConnectionError, ConfigurationError, SafeKlaviyoError, StoreError
from safeklaviyo.policy import Policy, RetryPolicy
from safeklaviyo.stores import opening
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.stores.outbox.calls import ReadAbout
from safeklaviyo.stores.outbox.opening import open_outbox

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from safeklaviyo._api.messages import Response
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Setup
    from safeklaviyo._runtime.config import Wiring
    from safeklaviyo.outboxes import OutboxCounts
    from safeklaviyo.stores.base import IdentityStore

_DEPENDENCIES: Final = ("httpx", "pydantic", "tenacity")
_EXTRAS: Final = {
    "rich": "cli",
    "uvicorn": "server",
    "psycopg": "postgres",
    "redis": "redis",
}
_REFUSALS: Final = frozenset(range(300, 600))
_TOLERATED: Final = 30.0
_NOTE: Final = "doctor"
_OTHERS: Final = 0o077


class Check(NamedTuple):
    """What one check found."""

    status: Literal["ok", "warn", "fail"]
    subject: str
    finding: str


def doctor(arguments: Namespace) -> int:
    """Print the checks; 1 if one failed."""
    failed = False
    for check in _checks(arguments):
        say(f"{check.status:4}  {check.subject:13}  {check.finding}")
        failed = failed or check.status == "fail"
    return 1 if failed else 0


def _checks(arguments: Namespace) -> Iterator[Check]:
    yield from _check_versions()
    yield from _check_klaviyo(arguments)
    yield from _check_store(store_url(arguments))
    yield from _check_outbox(arguments)


def _check_versions() -> Iterator[Check]:
    yield Check("ok", "python", platform.python_version())
    yield Check("ok", "safeklaviyo", VERSION)
    for name in _DEPENDENCIES:
        yield Check("ok", name, version(name))
    for name, extra in _EXTRAS.items():
        try:
            yield Check("ok", name, version(name))
        except PackageNotFoundError:
            yield Check("ok", name, f'not installed, and optional: pip install "safeklaviyo[{extra}]"')


def _check_klaviyo(arguments: Namespace) -> Iterator[Check]:
    if not os.environ.get("KLAVIYO_API_KEY"):
        yield Check("fail", "key", "there is none: set KLAVIYO_API_KEY")
        return
    try:
        wired = _wired(arguments)
    except ConfigurationError as error:
        yield Check("fail", "configuration", str(error))
        return
    # A map in memory: a broken store must not keep the key from being checked.
    shell = Shell(wired, MemoryStore(), None)
    with closing(shell):
        try:
            answer = shell.run(_ask)
        except APIConnectionError as error:
            yield Check("fail", "host", str(error))
            return
    yield Check("ok", "host", f"{wired.target.host} answers")
    yield from _check_key(wired, answer)
    yield _check_clock(answer, time.time())


def _wired(arguments: Namespace) -> Wiring:
    """Return what the arguments and the environment configure."""
    return wiring(
        None,
        access_token=None,
        account=arguments.account,
        public_key=None,
        policy=Policy(),
        retry=RetryPolicy(max_attempts=1),  # to say at once that the host does not answer
        timeout=10.0,
        deadline=DEADLINE,
        base_url=arguments.base_url,
        revision=REVISION,
        dialect="current",
    )


def _ask(setup: Setup) -> Flow[Response]:
    """Ask for the key's account; a refusal is an answer too, for `_check_key` to read."""
    exchange = yield from transmit(setup.line, get_account(), accept=_REFUSALS)
    return exchange.response


def _check_key(wired: Wiring, answer: Response) -> Iterator[Check]:
    if answer.status == 401:
        yield Check("fail", "key", "Klaviyo does not accept it (401)")
        return
    # The key may still do all that the shop needs, so this is no failure.
    if answer.status == 403:
        yield Check("warn", "key", "it may not read the account's id (403): pass account= to the client")
        return
    if not is_success(answer.status):
        yield Check("warn", "key", f"not checked: the host answered {answer.status}")
        return
    try:
        account = read_account_id(answer)
    except UnreadableAnswer:
        yield Check("fail", "key", "not checked: the host does not answer as Klaviyo does")
        return
    yield Check("ok", "key", "accepted")
    if wired.account in {None, account}:
        yield Check("ok", "account", account)
    else:
        yield Check("fail", "account", f"the key is of {account}, which is not the account given")


def _check_clock(answer: Response, now: float) -> Check:
    try:
        theirs = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return Check("warn", "clock", "not checked: the answer has no date")
    off = now - theirs
    # A Date header has whole seconds, and the answer took some time, so a small difference means nothing.
    if abs(off) > _TOLERATED:
        return Check("warn", "clock", f"{off:+.0f} seconds off Klaviyo's; events are dated by this clock")
    return Check("ok", "clock", f"within {_TOLERATED:.0f} seconds of Klaviyo's")


def _check_store(url: str) -> Iterator[Check]:
    try:
        store = opening.open_store(url)
        path = opening.sqlite_path(url)
    except ConfigurationError as error:
        yield Check("fail", "store", str(error))
        return
    with closing(store):
        try:
            # A note of the account "", which no shop has: the check leaves every map as it was.
            store.recall("", _NOTE)
            yield Check("ok", "store", "opens, and is of this version")
            store.remember("", _NOTE, VERSION)
            store.remember("", _NOTE, None)
            yield Check("ok", "store", "can be written")
        except (StoreError, ConfigurationError) as error:
            yield Check("fail", "store", str(error))
            return
        if opening.is_redis(url):
            yield from _check_persistence(store)
    if path is not None:
        yield _check_mode(Path(path))


def _check_outbox(arguments: Namespace) -> Iterator[Check]:
    """Say how many rows there are, if the shop has an outbox, or what is wrong with the one that it names."""
    try:
        named = outbox_url(getattr(arguments, "outbox", None))
        trouble = None if named is None else _trouble_of(named)
        if trouble is not None:
            yield trouble
            return
        # Without an account the rows of the shop cannot be told from those of another one.
        is_known = arguments.account is not None or os.environ.get("KLAVIYO_API_KEY")
        if not is_known or store_url(arguments).startswith("memory:"):
            counted = None
        else:
            with open_client(arguments) as klaviyo:
                counted = klaviyo._shell.run(counts_if_any)  # noqa: SLF001 - it makes no tables
    except SafeKlaviyoError as error:
        yield Check("fail", "outbox", str(error))
        return
    if counted is not None:
        yield _counted(counted)
    elif named is not None:
        yield Check("ok", "outbox", "opens, and is of this version; its rows were not counted")


def _trouble_of(url: str) -> Check | None:
    """Return why the outbox that a URL names cannot be used; None if it can.

    Raises:
        SafeKlaviyoError: It cannot be opened or read, or its tables are missing.
    """
    path = opening.sqlite_path(url)
    # A map in memory: the outbox alone is looked at.
    with closing(open_outbox(url, MemoryStore())) as outbox:
        if path is None:
            outbox.perform(ReadAbout(""))
        elif not os.path.isfile(path):  # noqa: PTH113 - `Path` raises where a folder may not be looked into
            return Check("fail", "outbox", "there is no such file: see to its path and folder; the first row makes it")
        elif not outbox.is_there():
            return Check("warn", "outbox", "its file has no tables yet: the first row makes them")
    return None


def _counted(counts: OutboxCounts) -> Check:
    found = f"{counts.waiting} rows wait, {counts.dead} are parked"
    if counts.dead:
        return Check("warn", "outbox", f"{found}: see `safeklaviyo outbox list`")
    return Check("ok", "outbox", found)


def _check_persistence(store: IdentityStore) -> Iterator[Check]:
    from safeklaviyo.stores.redis import RedisStore  # noqa: PLC0415 - an extra

    assert isinstance(store, RedisStore)
    try:
        warnings = store.persistence().warnings
    except (StoreError, ConfigurationError) as error:
        yield Check("warn", "store", f"whether it keeps its data is unknown: {error}")
        return
    for warning in warnings:
        yield Check("warn", "store", warning)
    if not warnings:
        yield Check("ok", "store", "writes each change to disk, and evicts nothing")


def _check_mode(path: Path) -> Check:
    # The map names every customer of the shop.
    mode = path.stat().st_mode & 0o777
    if mode & _OTHERS:
        return Check("warn", "store", f"its file's mode is {mode:04o}, so that others may read it: chmod 600")
    return Check("ok", "store", f"its file's mode is {mode:04o}")
