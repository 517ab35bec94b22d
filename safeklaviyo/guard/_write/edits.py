"""Changing a few values of a JSON text in place: every other byte of the text stays as it was sent."""

from __future__ import annotations

from json import dumps
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from safeklaviyo.guard._parse.spans import Object


def _written(value: Any) -> str:
    # A text is what nearly all values are, and `dumps` would come to this too.
    return encode_basestring_ascii(value) if type(value) is str else dumps(value)


class Edits:
    """Changes of one text. They are collected first, because each one would move the places of those behind it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._changes: list[tuple[int, int, str]] = []

    def change(self, opened: Object, *, put: Mapping[str, Any] = {}, drop: Collection[str] = ()) -> None:
        """Change one object of the text. Each object may be changed once.

        Args:
            opened: The object.
            put: Names and their new values. A name that has its value already is left as it was written.
            drop: Names to take out. A name that is not there is no error.
        """
        members = opened.members
        added: list[str] = []
        for name, value in put.items():
            member = members.get(name)
            if member is None:
                added.append(f"{_written(name)}:{_written(value)}")
            # Python takes 1 for True; JSON does not.
            elif type(member.value) is not type(value) or member.value != value:
                self._changes.append((member.start, member.end, _written(value)))
        kept = [name for name in members if name not in drop] if drop else members
        if len(kept) < len(members):
            self._drop(opened, set(kept))
        if added:
            # New names stand in front, because every member behind may have been taken out.
            self._changes.append((opened.start + 1, opened.start + 1, ",".join(added) + ("," if kept else "")))

    def take_out(self, elements: Sequence[Object], numbers: Collection[int]) -> None:
        """Take elements out of an array of objects, each with one comma. Others have to stay."""
        last = max(number for number in range(len(elements)) if number not in numbers)
        for number in numbers:
            if number < last:
                self._changes.append((elements[number].start, elements[number + 1].start, ""))
        if last + 1 < len(elements):
            self._changes.append((elements[last].end, elements[-1].end, ""))

    def _drop(self, opened: Object, kept: set[str]) -> None:
        """Take out all members but those kept, each with one comma."""
        listed = sorted(opened.members.items(), key=lambda each: each[1].at)
        last = max((number for number, (name, _) in enumerate(listed) if name in kept), default=-1)
        for number, (name, member) in enumerate(listed[: last + 1]):
            if name not in kept:
                self._changes.append((member.at, listed[number + 1][1].at, ""))
        if last + 1 < len(listed):
            # The members behind the last kept one go with the comma before them: JSON has no comma at the end.
            begin = listed[last][1].end if last >= 0 else listed[0][1].at
            self._changes.append((begin, listed[-1][1].end, ""))

    def text(self) -> str:
        """Return the text with all changes."""
        parts: list[str] = []
        at = 0
        for start, end, new in sorted(self._changes, key=lambda change: change[:2]):
            parts += self._text[at:start], new
            at = end
        return "".join((*parts, self._text[at:]))

    @property
    def are_none(self) -> bool:
        """Whether nothing was changed."""
        return not self._changes
