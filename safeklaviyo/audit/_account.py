"""Reading an account from Klaviyo itself, page by page, and the map that it is compared with.

Decided here: how an interrupted audit goes on. The profiles that were read stay in a file of the user's state folder,
with the place of the next page, for a day at most.
"""

from __future__ import annotations

import sqlite3
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from safeklaviyo._flows.identity.reads import endless_pages
from safeklaviyo._flows.verbs.survey import map_page, survey_page, surveyor_of
from safeklaviyo.audit._compared import row_of_profile
from safeklaviyo.audit._table import Customer, Table
from safeklaviyo.identity import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo import Klaviyo
    from safeklaviyo._flows.verbs.survey import Surveyor
    from safeklaviyo._runtime.shell import Shell

_LASTS: Final = 24 * 3600.0
"""Seconds for which an interrupted audit can go on. An older one would report duplicates that are mended by now."""


def shell_of(klaviyo: Klaviyo) -> Shell:
    """Return the shell that carries out a client's flows."""
    return klaviyo._shell  # noqa: SLF001 - an audit is a part of the package, and its flows are no methods of the client


def surveyor(klaviyo: Klaviyo) -> Surveyor:
    """Return the account that a client reads, with the client's policy."""
    return shell_of(klaviyo).run(surveyor_of)


def table_for(surveyed: Surveyor) -> Table:
    """Return the table of an audit, with the profiles that an interrupted audit has read."""
    from platformdirs import user_state_path  # noqa: PLC0415 - as for the default map

    folder = user_state_path("safeklaviyo", ensure_exists=True)
    name = sha256(f"{surveyed.base} {surveyed.account}".encode()).hexdigest()[:16]
    try:
        table = Table(folder / f"audit-{name}.sqlite3")
    except (sqlite3.Error, OSError):
        # Another audit of this account is running and holds the file. This one gets a temporary file, and cannot go on
        # after an interruption.
        return Table()
    began_at = float(table.noted("began at") or 0)
    if not time.time() - _LASTS <= began_at <= time.time():
        table.begin_again()
        table.note("began at", str(time.time()))
        table.commit()
    return table


def read_map(klaviyo: Klaviyo, table: Table) -> None:
    """Read the map, with the former addresses. Called before the account is read, because that changes the map."""
    if table.noted("map is read") is not None:
        return
    table.forget_customers()
    shell = shell_of(klaviyo)
    after: str | None = None
    number = 0
    while True:
        page, former = shell.run(map_page, after)
        numbers = {binding.key: number + at for at, binding in enumerate(page.bindings, start=1)}
        retired: dict[str, list[tuple[str, float | None]]] = {}
        for match in former:
            if match.identifier.kind is Kind.EMAIL:
                retired.setdefault(match.binding.key, []).append((match.identifier.value, match.retired_at))
        table.add_customers(
            (Customer(numbers[each.key], each.external_id, each.email, each.profile_id), retired.get(each.key, ()))
            for each in page.bindings
        )
        number += len(page.bindings)
        if page.next is None:
            break
        after = page.next
    table.note("map is read", "yes")
    table.commit()


def read_account(klaviyo: Klaviyo, table: Table, blocked: frozenset[str], on_part: Callable[[int], object]) -> None:
    """Read all profiles, and note after each page where the next one is.

    Args:
        klaviyo: The client.
        table: Where the profiles are kept.
        blocked: Further identifiers that count as placeholders.
        on_part: Called after each page with the number of profiles that were read.

    Raises:
        NoResponseError: A page leads back to one that was read.
    """
    shell = shell_of(klaviyo)
    path = table.noted("next page")
    done = int(table.noted("profiles") or 0)
    seen: set[str] = set()
    while table.noted("account is read") is None:
        page = shell.run(survey_page, path)
        if page.path in seen:
            raise endless_pages()
        seen.add(page.path)
        if page.began_again:
            # Klaviyo has forgotten the place, so the account is read from its beginning. A profile that is read twice
            # is kept once.
            done = 0
        rows = (row_of_profile(each, blocked) for each in page.profiles)
        table.add_profiles([row._replace(bound=at in page.bound) for at, row in enumerate(rows)])
        done += len(page.profiles)
        path = page.next_path
        table.note("next page", path)
        table.note("profiles", str(done))
        if path is None:
            table.note("account is read", "yes")
        # The profiles and the next place in one commit: after a kill the page is repeated whole or not at all.
        table.commit()
        on_part(done)
