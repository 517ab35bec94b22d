"""Keyed hashes in place of identifiers.

Equal identifiers have equal hashes. Without the key a hash cannot be reversed. Beside its hash an identifier has its
JSON type, and the mark of a placeholder: a reader of the log cannot see either in the hash.
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
        """Return what stands in the log for an identifier; None if none was given."""
        if value is None:
            return None
        # A number is an id too: shops send ids of both types, and the log shows by `kind` that they do.
        text = value if isinstance(value, str) else repr(value)
        text = text[:_LONGEST]
        # Spellings that Klaviyo takes for one identifier must have one hash.
        normal = comparable_email(text) if kind == "email" else text.strip()
        if kind == "phone_number":
            normal = normal.translate(PHONE_PUNCTUATION)
        shown: dict[str, Any] = {
            "hash": self.of(normal),
            "kind": type(value).__name__,
            "placeholder": why_no_id(text.strip(), frozenset()),
        }
        return shown | {"spelling": self.of(text)} if kind == "email" else shown
