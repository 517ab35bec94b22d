"""What a flow yields. Apart from `_flow`, because the calls of a store are effects too, and stores know no flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Generator

R_co = TypeVar("R_co", covariant=True)


class Effect(Generic[R_co]):
    """Something to be done by whoever drives the flow, and the type of its result."""

    __slots__ = ()

    def __iter__(self) -> Generator[Effect[object], object, R_co]:
        return cast("R_co", (yield self))
