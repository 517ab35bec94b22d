"""Which error a failure of PostgreSQL becomes.

Decided here: which failures mean that the tables are not a map of this version, which that something is set up wrongly,
and which that the map cannot answer now (P6). A message quotes nothing of PostgreSQL's, which may repeat values (P8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from safeklaviyo.errors import ConfigurationError, StoreIncompatibleError, StoreUnavailableError
from safeklaviyo.stores.postgres._schema import MIGRATE

if TYPE_CHECKING:
    import psycopg

    from safeklaviyo.errors import SafeKlaviyoError

UNREACHABLE: Final = "the identity map's database could not be reached; see to its address, its user and the server"
LOST: Final = "the identity map's database did not answer, or the connection to it was lost; try again"
READ_ONLY: Final = "the identity map's database is read-only, as a replica is; name the primary"
BUSY: Final = "no connection to the identity map's database became free in time; try again"
CLOSED: Final = "the identity map has been closed; open it again"


@dataclass(frozen=True, slots=True)
class Meaning:
    """The error for a failure.

    Attributes:
        may_retry: The same call can succeed later although no person has changed anything.
    """

    error: type[SafeKlaviyoError]
    message: str
    may_retry: bool = False


def _unavailable(message: str, *, may_retry: bool = True) -> Meaning:
    return Meaning(StoreUnavailableError, message, may_retry)


_FOREIGN: Final = Meaning(
    StoreIncompatibleError, f"the identity map's tables are missing, or not those of this version; {MIGRATE}"
)
_DAMAGED: Final = _unavailable("the database of the identity map is damaged; restore it and recheck", may_retry=False)
_REFUSED: Final = Meaning(ConfigurationError, "the database does not let its user in; see to user and password")
_UNEXPECTED: Final = _unavailable("the identity map's database failed in an unexpected way", may_retry=False)

MEANINGS: Final = {
    "08": _unavailable(LOST),
    "0A": _FOREIGN,
    "22": _FOREIGN,
    "23": _FOREIGN,
    "25": _unavailable("the transaction that the identity map was to join cannot go on; roll it back", may_retry=False),
    "25006": _unavailable(READ_ONLY),
    "28": _REFUSED,
    "3D": Meaning(ConfigurationError, "there is no such database for the identity map; see to its URL"),
    "3F": _FOREIGN,
    "40": _unavailable("the identity map's change met with another one; try again"),
    "42": _FOREIGN,
    "42501": Meaning(ConfigurationError, "the database user may not use the identity map's tables; grant it the right"),
    "53": _unavailable("the identity map's database is short of resources; make room"),
    "53100": _unavailable("the disk that holds the identity map's database is full; make room"),
    "53200": _unavailable("the identity map's database is out of memory"),
    "53300": _unavailable("the identity map's database has no connection left; lower the size of the stores' pools"),
    "54": _unavailable("the identity map was asked for more than its database can do", may_retry=False),
    "55": _unavailable("the identity map's database is not ready for this; try again"),
    "55P03": _unavailable("other writers kept the identity map busy for longer than is waited; try again"),
    "57": _unavailable("the identity map's database broke off, or is starting or stopping; try again"),
    "57014": _unavailable("the identity map's database took longer than it is allowed to; try again"),
    "58": _unavailable("the identity map's database has trouble with its system; see to its disk"),
    "P0": _FOREIGN,
    "SK001": Meaning(ConfigurationError, "the identity map needs transactions of the isolation level READ COMMITTED"),
    "SK002": Meaning(ConfigurationError, "the identity map needs a database that is encoded in UTF8"),
    "XX": _DAMAGED,
}
"""By SQLSTATE, or by its class (PostgreSQL's *Error Codes*): how the identity map's statements can fail."""


def store_error(failure: psycopg.Error) -> SafeKlaviyoError:
    """Return the error that says what a failure of a statement means."""
    code = failure.sqlstate
    # The failure is not the server's: psycopg met it on the connection.
    if code is None:
        return StoreUnavailableError(LOST)
    meaning = MEANINGS.get(code) or MEANINGS.get(code[:2], _UNEXPECTED)
    return meaning.error(f"{meaning.message} (SQLSTATE {code})", may_retry=meaning.may_retry)
