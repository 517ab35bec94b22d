"""Fields of an event that can be given in several places: as an argument, and under several keys of the properties."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from safeklaviyo._input.values import UnsendableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from safeklaviyo._input.findings import Findings

T = TypeVar("T")


class Given:
    """What was given for each field of one event, in the order in which it counts."""

    __slots__ = ("_arguments", "_found", "_possible")

    def __init__(self, arguments: dict[str, object]) -> None:
        self._arguments = arguments
        self._found: dict[str, list[tuple[str, object]]] = {}
        self._possible: dict[str, tuple[str, object]] = {}

    def add(self, name: str, path: str, value: object) -> None:
        """Note a key that means this field and nothing else."""
        self._found.setdefault(name, []).append((path, value))

    def add_possible(self, name: str, path: str, value: object) -> None:
        """Note a property of the shop's own that may also mean this field."""
        self._possible[name] = (path, value)

    def names(self) -> Iterable[str]:
        """Return the names of the fields."""
        return self._arguments

    def of(self, name: str) -> list[tuple[str, object]]:
        """Return where the field was given, and what."""
        argument = self._arguments[name]
        found = self._found.get(name, [])
        return found if argument is None else [(name, argument), *found]

    def possible(self, name: str) -> tuple[str, object] | None:
        """Return the property that may mean the field."""
        return self._possible.get(name)


def once(name: str, check: Callable[[object], T], given: Given, findings: Findings, *, fixes: bool) -> T | None:
    """Check a field wherever it was given, and return the one value of it.

    Args:
        fixes: Without the field it would be another event, so what is unusable is refused.
    """
    chosen: T | None = None
    note = findings.refuse if fixes else findings.leave_out
    for path, raw in given.of(name):
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
