"""The account as it was before a log begins: an export of its profiles.

Decided here: which profiles matter for a log. Only these are kept, so that an export of a million profiles needs little
memory. Not here: how a file is read (`_files`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from safeklaviyo._files.encodings import opened
from safeklaviyo._files.rows import Form, Lines, read_csv, read_jsonl
from safeklaviyo.audit._diagnosis.calls import Named, named
from safeklaviyo.audit._diagnosis.people import nodes_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    from safeklaviyo.audit._diagnosis.calls import Call

_JSON_LINES: Final = frozenset({".jsonl", ".ndjson"})


def profiles_before(path: str | PathLike[str], calls: Sequence[Call]) -> list[Named]:
    """Return the profiles of an export that have an identifier which the log has too.

    Raises:
        ConfigurationError: The file is no export, or it is not certain which columns are meant.
        OSError: The file cannot be read.
    """
    known = {node for call in calls for row in (*call.people, *call.shown) for node in nodes_of(row)}
    known |= {f"{kind}:{value.lower()}" for call in calls if call.searched for kind, value in (call.searched,)}
    return [row for row in _rows(Path(path)) if known.intersection(nodes_of(row))]


def _rows(path: Path) -> Iterator[Named]:
    with path.open("rb") as file:
        text, encoding = opened(file, None)
        lines = Lines(text)
        form = Form({}, is_guess=encoding.is_guess)
        table = read_jsonl(lines, form) if path.suffix.lower() in _JSON_LINES else read_csv(lines, form)
        for row in table.rows:
            if row.values is not None:
                given = row.values
                yield named(
                    profile_id=given.get("profile_id"),
                    external_id=given.get("external_id"),
                    email=given.get("email"),
                    phone_number=given.get("phone_number"),
                )
