"""Fields of an event that can be given in several places: as an argument, and under several keys of the properties."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

from safeklaviyo._input.values import UnsendableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._input.findings import Findings

T = TypeVar("T")

Found: TypeAlias = "dict[str, list[tuple[str, object]]]"
"""What was found among the properties for each field of one event, with its path, in the order in which it counts."""


def once(
    name: str, argument: object, check: Callable[[object], T], found: Found, findings: Findings, *, fixes: bool
) -> T | None:
    """Check a field wherever it was given, and return the one value of it. An argument goes first.

    Args:
        fixes: Without the field it would be another event, so what is unusable is refused.
    """
    if argument is None and name not in found:
        return None
    note = findings.refuse if fixes else findings.leave_out
    if name not in found:
        try:
            return check(argument)
        except UnsendableError as exc:
            note(name, exc.why)
            return None
    chosen: T | None = None
    for path, raw in ((name, argument), *found[name]):
        if raw is None:
            continue
        try:
            value = check(raw)
        except UnsendableError as exc:
            note(path, exc.why)
            continue
        if chosen is None:
            chosen = value
        elif value != chosen:
            note(path, "is given twice, with different values")
    return chosen
