"""What an error of the outbox says: the same as one of the map's, whose drivers it shares, but of the outbox.

Decided here: which words differ. Whoever reads that the map's tables are missing would look into the wrong database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from safeklaviyo.errors import SafeKlaviyoError

E = TypeVar("E", bound="SafeKlaviyoError")

_MIGRATE: Final = "run `safeklaviyo store migrate`"
_WORDS: Final = (
    ("the file is not an identity map", "the outbox's file is no SQLite database"),
    ("store= or SAFEKLAVIYO_STORE", "outbox= or SAFEKLAVIYO_OUTBOX"),
    ("the identity map", "the outbox"),
    # The command reads the variable. It cannot know what a program gives as outbox=.
    (_MIGRATE, f"{_MIGRATE}, with --outbox if SAFEKLAVIYO_OUTBOX does not name this database"),
)


def of_outbox(error: E) -> E:
    """Return an error, which speaks of the outbox from now on."""
    message = str(error)
    for theirs, ours in _WORDS:
        message = message.replace(theirs, ours)
    error.args = (message,)
    return error
