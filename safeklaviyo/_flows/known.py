"""What a flow has made sure of, where the type of a binding or a decision does not say so."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def known(value: T | None) -> T:
    """Return a value that has to be there by now.

    Raises:
        AssertionError: It is not. This call ends, so that the word "None" names nobody in a request or in the map.
    """
    if value is None:
        raise AssertionError("an identifier that was made sure of is missing")
    return value
