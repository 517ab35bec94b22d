"""Several calls at once: how many, what they return, and what ends them all."""

from __future__ import annotations

import asyncio
from threading import Barrier

import pytest

from safeklaviyo import AuthenticationError, IdOnlyError
from support.several import AT_ONCE, several, several_async


def is_about_one(error):
    """Tell whether the others may go on."""
    return isinstance(error, IdOnlyError)


def test_so_many_at_once_and_in_their_order():
    """Each waits for the others, so that they are made at the same time."""
    together = Barrier(AT_ONCE)

    def call(number):
        together.wait(10)
        if number == 3:
            raise IdOnlyError
        return number

    results = several(call, range(AT_ONCE), is_about_one)
    assert (AT_ONCE, IdOnlyError) == (len(results), type(results.pop(3)))
    assert [0, 1, 2, 4, 5, 6, 7] == results


def test_one_alone_needs_no_thread():
    """One call is made where the caller is."""
    assert [7] == several(lambda each: each, [7], is_about_one)


def test_an_error_of_all_ends_all():
    """What was not begun is not made."""
    made = []

    def call(number):
        made.append(number)
        raise AuthenticationError("no", status_code=401)

    with pytest.raises(AuthenticationError):
        several(call, range(500), is_about_one)
    assert len(made) < 100


async def test_awaited():
    """Tasks do the same; after an error of all none is left."""
    together = asyncio.Barrier(AT_ONCE)

    async def call(number):
        await together.wait()
        if number == 3:
            raise IdOnlyError
        return number

    results = await several_async(call, range(AT_ONCE), is_about_one)
    assert (AT_ONCE, IdOnlyError) == (len(results), type(results[3]))

    async def refuse(_number):
        raise AuthenticationError("no", status_code=401)

    with pytest.raises(AuthenticationError):
        await several_async(refuse, range(50), is_about_one)
    assert {asyncio.current_task()} == asyncio.all_tasks()
