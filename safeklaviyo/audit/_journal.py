"""The journal of a repair: what both profiles were before each merge, and the result of the merge.

Decided here: what must be on the disk before a merge is sent, because a merge cannot be undone; and what a run may
conclude from the journal of a run that was killed. Each step is one line of JSON. Only the owner may read the file.
"""

from __future__ import annotations

import fcntl
import json
import os
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from safeklaviyo.models import Profile

KIND: Final = "safeklaviyo repair journal"
VERSION: Final = 1

State: TypeAlias = Literal["begun", "merged", "requested", "skipped", "failed"]
FINAL: Final[frozenset[str]] = frozenset({"merged", "requested"})


class Journal:
    """The journal of one account's repair: a new one, or one that an earlier run has begun.

    Args:
        path: The file, which is made if it is not there.
        account: The account of the merged profiles.

    Raises:
        ConfigurationError: The file is no journal, belongs to another account, or another run is using it.
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path, account: str) -> None:
        self.path = path
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._file = open(descriptor, "r+b", buffering=0)  # noqa: PTH123, SIM115 - a descriptor, closed by `close`
        try:
            self._lock()
            self._states = self._read(account)
        except BaseException:
            self._file.close()
            raise

    def state(self, source_id: str, into_id: str) -> str | None:
        """Return the last state of a merge, from this run or an earlier one; None if the merge is new."""
        return self._states.get((source_id, into_id))

    def begin(self, source: Profile, into: Profile) -> None:
        """Write down both profiles as they are. When this returns, the line is on the disk."""
        before = {"source": source.model_dump(mode="json"), "into": into.model_dump(mode="json")}
        self._write(source.id, into.id, "begun", {"before": before})

    def end(self, source_id: str, into_id: str, state: State, reason: str = "") -> None:
        """Write down the result of a merge."""
        self._write(source_id, into_id, state, {"reason": reason} if reason else {})

    def close(self) -> None:
        """Close the file. It is not removed."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError("another repair is using this journal; wait for it, or name another one") from None

    def _read(self, account: str) -> dict[tuple[str, str], str]:
        text = self._file.read()
        if not text:
            self._append({"kind": KIND, "version": VERSION, "account": account})
            return {}
        # A process that was killed while it wrote has left a part of a line. The step of that line was not finished.
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            self._file.truncate(len(whole))
        try:
            head, *lines = [cast("dict[str, Any]", json.loads(line)) for line in whole.splitlines()]
            is_ours = head.get("kind") == KIND and head.get("version") == VERSION
            states = {(str(line["source"]), str(line["into"])): str(line["state"]) for line in lines}
        except (ValueError, KeyError, AttributeError, TypeError):
            is_ours, head, states = False, {}, {}
        if not is_ours:
            raise ConfigurationError("the file for the journal holds something else; name another one with --journal")
        if head.get("account") != account:
            raise ConfigurationError("the journal is of another account; name another one with --journal")
        return states

    def _write(self, source_id: str, into_id: str, state: State, more: dict[str, Any]) -> None:
        self._append({"source": source_id, "into": into_id, "state": state, **more})
        self._states[source_id, into_id] = state

    def _append(self, line: dict[str, Any]) -> None:
        # An unbuffered write may take a part of the data only.
        data = memoryview(json.dumps(line).encode() + b"\n")
        while data:
            data = data[self._file.write(data) :]
        os.fsync(self._file.fileno())
