"""`audit`: from an account, or an export, to its findings.

Decided here: what each source can show, so that what was not looked for is never reported as not there.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from safeklaviyo._client.klaviyo import Klaviyo
from safeklaviyo.audit._account import read_account, read_map, surveyor, table_for
from safeklaviyo.audit._exports import Export, read_customers, read_export
from safeklaviyo.audit._finding import RULES
from safeklaviyo.audit._found import Audit, keys_of, rows_of
from safeklaviyo.audit._plan import choose_merges
from safeklaviyo.audit._search import search
from safeklaviyo.audit._table import Table
from safeklaviyo.models import Progress
from safeklaviyo.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Source: TypeAlias = "Klaviyo | Export | str | os.PathLike[str]"
Bindings: TypeAlias = "Klaviyo | str | os.PathLike[str] | None"
OnProgress: TypeAlias = "Callable[[Progress], object] | None"

_OF_MAPS: Final = ("A5", "A6", "A7")
_OF_IDS: Final = ("A1", "A3", "A6", "A7")
_NO_ID: Final = "the export has no column for the external id; name it with --map external_id=NAME"
_NO_PHONE: Final = "the export has no column for the phone number"
_NO_MAP: Final = "there is no identity map to compare with; give --bindings, or let the map learn first"
_EMPTY_MAP: Final = "the identity map had no customers of this account; it has learnt them, so the next audit can look"


def audit(
    source: Source, *, bindings: Bindings = None, baseline: Audit | str | os.PathLike[str] | None = None,
    on_progress: OnProgress = None,
) -> Audit:  # fmt: skip
    """Look for duplicates, and say which of them the data prove to be one customer. Writes nothing to Klaviyo.

    An account is read page by page. Its client's map learns the customers on the way, as `bindings.learn` does. If an
    audit of an account is interrupted, the next one goes on with it, for a day. Memory does not grow with the account:
    the profiles are kept in a temporary file.

    Args:
        source: A client, to read its account; or an export of Klaviyo's profiles: its path, or an `Export`.
        bindings: The map to compare with: a client, to read its map; or a file of the shop's customers, as
            ``safeklaviyo bindings import`` takes it. A client as `source` brings its own map.
        baseline: An earlier audit, or the file with its JSON. Its findings are not new.
        on_progress: Called after each part; `Progress.done` counts profiles.

    Raises:
        ConfigurationError: The source is no export, or it is not certain which columns are meant.
        OSError: A file cannot be read.
        StoreError: The identity map cannot answer.
        APIConnectionError: Klaviyo cannot be reached.
        APIStatusError: Klaviyo refused.
    """
    known = None if baseline is None else keys_of(baseline)
    if isinstance(source, Klaviyo):
        return _audit_account(source, bindings, known, on_progress)
    return _audit_export(source if isinstance(source, Export) else Export(Path(source)), bindings, known, on_progress)


def _audit_account(
    klaviyo: Klaviyo, bindings: Bindings, known: Iterable[str] | None, on_progress: OnProgress
) -> Audit:  # fmt: skip
    surveyed = surveyor(klaviyo)
    table = table_for(surveyed)
    try:
        # The map first: reading the account teaches it, and then it could not contradict the account.
        _compare_with(klaviyo if bindings is None else bindings, table)
        read_account(klaviyo, table, surveyed.policy.blocked_values, _Pace(on_progress).of_account)
    except BaseException:
        table.leave()  # the next audit goes on with it
        raise
    missing = {} if table.counts().customers else _each_of(_OF_MAPS, _EMPTY_MAP)
    account, policy = surveyed.account, surveyed.policy
    return _finished(table, source="api", account=account, missing=missing, known=known, policy=policy)


def _audit_export(export: Export, bindings: Bindings, known: Iterable[str] | None, on_progress: OnProgress) -> Audit:
    table = Table()
    try:
        account = None
        policy = Policy()
        if isinstance(bindings, Klaviyo):
            surveyed = surveyor(bindings)
            account, policy = surveyed.account, surveyed.policy
        if bindings is not None:
            _compare_with(bindings, table)
        size = Path(export.path).stat().st_size
        read = read_export(export, table, policy.blocked_values, _Pace(on_progress, size).of_export)
        missing = {} if table.counts().customers else _each_of(_OF_MAPS, _NO_MAP)
        if "external_id" not in read.fields:
            missing |= _each_of(_OF_IDS, _NO_ID)
        if "phone_number" not in read.fields:
            missing["A4"] = _NO_PHONE
        return _finished(table, source="export", account=account, missing=missing, known=known, policy=policy)
    except BaseException:
        table.close()
        raise


def _compare_with(bindings: Klaviyo | str | os.PathLike[str], table: Table) -> None:
    """Read the map, or the shop's file of customers in its place."""
    if isinstance(bindings, Klaviyo):
        read_map(bindings, table)
    elif table.noted("map is read") is None:
        table.forget_customers()
        read_customers(os.fspath(bindings), table)
        table.note("map is read", "yes")
        table.commit()


def _finished(
    table: Table, *, source: str, account: str | None, missing: dict[str, str], known: Iterable[str] | None,
    policy: Policy,
) -> Audit:  # fmt: skip
    """Look for the findings in what was read."""
    # Step 1: build the indexes, and drop the findings of an audit that was interrupted at this point.
    table.finish_reading()
    table.run("DELETE FROM finding; DELETE FROM merge; DELETE FROM baseline;")
    # Step 2: look for the findings that the data can show.
    checked = [rule for rule in RULES if rule not in missing]
    made_at = datetime.now(UTC)
    since = None if policy.retired_for is None else made_at.timestamp() - policy.retired_for
    table.write(
        "INSERT INTO finding (rule, name, source, stays, why_not, body) VALUES (?, ?, ?, ?, ?, ?)",
        rows_of(search(table, checked, since=since)),
    )
    # Step 3: choose the merges of the plan, once all findings are known: two of them may contradict each other.
    choose_merges(table)
    return Audit(table, source=source, account=account, made_at=made_at, not_checked=missing, baseline=known)


def _each_of(rules: Iterable[str], because: str) -> dict[str, str]:
    return dict.fromkeys(rules, because)


class _Pace:
    """Turns what was read into `Progress`.

    Args:
        on_progress: Called with each `Progress`; None if the caller wants none.
        size: The size of the export in bytes, from which the remaining time is estimated; 0 for an account.
    """

    def __init__(self, on_progress: OnProgress, size: int = 0) -> None:
        self._on_progress = on_progress
        self._size = size
        self._began_at = time.monotonic()

    def of_account(self, done: int) -> None:
        """Report how many profiles were read."""
        self.of_export(done, 0, 0)

    def of_export(self, done: int, read: int, unreadable: int) -> None:
        """Report how many rows, and how many characters, were read."""
        if self._on_progress is None:
            return
        elapsed = max(time.monotonic() - self._began_at, 1e-9)
        remaining = elapsed * (self._size - read) / read if 0 < read <= self._size else None
        self._on_progress(Progress(done, None, unreadable, done / elapsed, remaining))
