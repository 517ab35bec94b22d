"""Which error a failure of SQLite becomes.

Decided here: which failures mean that the file is not a map of this version, and which that the map cannot answer now
(P6). A message contains neither the file's name nor any value, because both may be personal (P8).
"""

from __future__ import annotations

import sqlite3
from typing import Final

from safeklaviyo.errors import StoreError, StoreIncompatibleError, StoreUnavailableError

NOT_AN_IDENTITY_MAP: Final = "the file is not an identity map; choose another path in store= or SAFEKLAVIYO_STORE"

UNAVAILABLE: Final = {
    sqlite3.SQLITE_BUSY: "other processes kept the identity map busy for longer than is waited; try again",
    sqlite3.SQLITE_CANTOPEN: "the identity map's file cannot be opened; see to its folder and permissions",
    sqlite3.SQLITE_CORRUPT: "the identity map's file is damaged; restore a backup, then run a recheck",
    sqlite3.SQLITE_FULL: "the disk that holds the identity map is full; make room",
    sqlite3.SQLITE_IOERR: "the identity map's file cannot be read or written; see to its disk",
    sqlite3.SQLITE_LOCKED: "the identity map is in use within this process; try again",
    sqlite3.SQLITE_NOMEM: "there is no memory left to read the identity map",
    sqlite3.SQLITE_PERM: "the identity map's file may not be used; see to its permissions",
    sqlite3.SQLITE_PROTOCOL: "other processes kept the identity map's file locked; try again",
    sqlite3.SQLITE_READONLY: "the identity map's file is read-only; see to its permissions",
}
"""By primary result code (SQLite's *Result and Error Codes*): failures that pass or can be repaired."""

INCOMPATIBLE: Final = {
    sqlite3.SQLITE_ERROR: "the identity map's tables are not those of this version; restore the file or choose another",
    sqlite3.SQLITE_NOTADB: NOT_AN_IDENTITY_MAP,
}
"""By primary result code: the file is not a map of this version."""


def store_error(failure: sqlite3.Error) -> StoreError:
    """Return the error that says what a failure of SQLite means."""
    code = primary_code(failure)
    if code in INCOMPATIBLE:
        return StoreIncompatibleError(INCOMPATIBLE[code])
    message = UNAVAILABLE.get(code, "the identity map's file could not be used")
    # A damaged file does not heal: a retry would only repeat the failure.
    return StoreUnavailableError(message, may_retry=code != sqlite3.SQLITE_CORRUPT)


def primary_code(failure: sqlite3.Error) -> int:
    """Return SQLite's primary result code; -1 where the failure never reached SQLite."""
    # A misuse that Python's module detects itself, such as a closed connection, has no code.
    code: int = getattr(failure, "sqlite_errorcode", -1)
    return code if code < 0 else code & 0xFF
