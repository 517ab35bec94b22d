"""Several calls at once, where each is about one person and waits for Klaviyo: what they return, in their order."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from safeklaviyo.errors import SafeKlaviyoError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE: Final = 8
"""Calls that are made at the same time."""


def several(
    call: Callable[[T], R], given: Sequence[T], may_go_on: Callable[[SafeKlaviyoError], bool]
) -> list[R | SafeKlaviyoError]:
    """Make a call for each, several at a time, in threads.

    Args:
        may_go_on: Tells whether an error is about one call alone. Any other ends all: what is on its way is finished,
            and nothing more is begun.

    Returns:
        What each call returned, or its error.

    Raises:
        SafeKlaviyoError: One that is not about one call alone.
    """
    # The pool hands an error on when the results before it have been taken. Until then this list keeps its threads from
    # beginning further calls.
    ends_all: list[SafeKlaviyoError] = []

    def _ended(each: T) -> R | SafeKlaviyoError:
        if ends_all:
            raise ends_all[0]
        try:
            return call(each)
        except SafeKlaviyoError as error:
            if not may_go_on(error):
                ends_all.append(error)
                raise
            return error

    # One call needs no thread.
    if len(given) < 2:
        return [_ended(each) for each in given]
    with ThreadPoolExecutor(min(AT_ONCE, len(given)), "safeklaviyo-row") as pool:
        try:
            return list(pool.map(_ended, given))
        except BaseException:
            # An interruption, or an error that ends all: what is on its way is finished, so that its outcome is known.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


async def several_async(
    call: Callable[[T], Awaitable[R]], given: Sequence[T], may_go_on: Callable[[SafeKlaviyoError], bool]
) -> list[R | SafeKlaviyoError]:
    """Same as `several`, awaited, in tasks."""
    # A pool of threads limits how many are at work. Tasks all begin at once, so they wait here.
    places = asyncio.Semaphore(AT_ONCE)

    async def _ended(each: T) -> R | SafeKlaviyoError:
        async with places:
            try:
                return await call(each)
            except SafeKlaviyoError as error:
                if not may_go_on(error):
                    raise
                return error

    tasks = [asyncio.ensure_future(_ended(each)) for each in given]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        # After an error that ends all, the others are not left to themselves.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
