"""Keys and passwords, held so that nothing shows them by accident (P8).

An error tracker sends the `repr` of the local variables of each frame. A variable that holds a key as text would travel
with it. So a key is held as a `Secret`, from where it is read until it is written onto a connection.
"""

from __future__ import annotations

from typing import Final, NoReturn


class Secret:
    """A text that its `repr` and its `str` do not show.

    `reveal` alone returns the text. Call it in the expression that uses the text, and give the text no name.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text: Final = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled: the file or queue with the pickle would hold the secret")
