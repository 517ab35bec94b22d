"""Keyed hashes in place of identifiers: equal identifiers have equal hashes, which cannot be reversed without the key.

What a reader of the log needs to know of an identifier beyond that is marked beside its hash: its type in JSON, and
whether it is a placeholder.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

from safeklaviyo._placeholders import why_no_id
from safeklaviyo.identity import PHONE_PUNCTUATION, comparable_email

_SIZE: Final = 12
_LONGEST: Final = 1000


class Hashes:
    """Hashes with one key.

    Args:
        key: Secret; the same for all lines of an account.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key[:64]
        self.name = blake2b(key, digest_size=4).hexdigest()

    def of(self, text: str) -> str:
        """Return the hash of a text."""
        return "h:" + blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=_SIZE).hexdigest()

    def identifier(self, kind: str, value: Any) -> dict[str, Any] | None:
        """Return what stands in the log for an identifier; None where none was given."""
        if value is None:
            return None
        text = value if isinstance(value, str) else repr(value)
        text = text[:_LONGEST]
        normal = comparable_email(text) if kind == "email" else text.strip()
        if kind == "phone_number":
            normal = normal.translate(PHONE_PUNCTUATION)
        shown: dict[str, Any] = {
            "hash": self.of(normal),
            "kind": type(value).__name__,
            "placeholder": why_no_id(text.strip(), frozenset()),
        }
        return shown | {"spelling": self.of(text)} if kind == "email" else shown
