"""What a flow has made sure of, where the type of a binding or a decision does not say so."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def required(value: T | None) -> T:
    """Return a value that has to be there by now.

    Raises:
        AssertionError: The value is None. The call ends here, so that the word "None" never stands for an identifier in
            a request or in the map.
    """
    if value is None:
        raise AssertionError("an identifier that was made sure of is missing")
    return value
