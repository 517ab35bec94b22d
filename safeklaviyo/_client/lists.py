"""``k.lists``: Klaviyo's lists, and who is in them, synchronous and asynchronous."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from itertools import count, islice
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from safeklaviyo._api.lists import MOST_MEMBERS
from safeklaviyo._client.several import several, several_async
from safeklaviyo._client.tally import Tally
from safeklaviyo._flows.verbs.lists import (
    Member,
    add_members,
    get_list,
    is_about_one,
    list_lists,
    list_members,
    member_to_add,
    member_to_remove,
    remove_members,
)
from safeklaviyo._tracebacks import discreet
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Setup
    from safeklaviyo._flows.many.rows import Checked
    from safeklaviyo._runtime.async_shell import AsyncShell
    from safeklaviyo._runtime.shell import Shell
    from safeklaviyo.batches import BatchReport, OnRefused
    from safeklaviyo.lists import MailingList
    from safeklaviyo.models import Profile

    Row: TypeAlias = Mapping[str, Any]
    Waiting: TypeAlias = tuple[int, Row, Member]
    Find: TypeAlias = Callable[[Setup, object], Flow[Member | None]]
    Change: TypeAlias = Callable[[Setup, str, list[Member]], Flow[dict[str, SafeKlaviyoError]]]


def _count_found(
    tally: Tally[Checked], part: Sequence[tuple[int, Row]], found: Sequence[Member | SafeKlaviyoError | None]
) -> list[Waiting]:
    """Count the rows of a part that need no request, and return those that wait for one."""
    waiting: list[Waiting] = []
    for (number, row), member in zip(part, found, strict=True):
        if isinstance(member, SafeKlaviyoError):
            tally.refuse(number, row, member)
        elif member is None:
            tally.accepted += 1  # a person without a profile is in no list already
        else:
            waiting.append((number, row, member))
    return waiting


def _count_changed(tally: Tally[Checked], waiting: list[Waiting], failures: dict[str, SafeKlaviyoError]) -> None:
    """Count the rows that waited, once their request has been answered."""
    for number, row, member in waiting:
        # By profile: the request names profiles, and two rows may be about one of them.
        error = failures.get(member.profile_id)
        if error is None:
            tally.accepted += 1
        else:
            tally.refuse(number, row, error)


@discreet
class Lists:
    """Klaviyo's lists. Who is in a list is changed by profile id; consent is not changed, see `subscribe` for that."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def iterate(self) -> Iterator[MailingList]:
        """Yield all lists, a page at a time.

        Raises:
            ConfigurationError: The dialect has no lists.
            APIConnectionError: Klaviyo cannot be reached, or its pages lead back to one that was read.
            APIStatusError: Klaviyo refused.
        """
        cursor: str | None = None
        # The pages that were read. One that leads back to them raises an error: without it this loop would not end.
        seen: set[str] = set()
        while True:
            lists, cursor = self._shell.run(list_lists, cursor=cursor, seen=seen)
            yield from lists
            if cursor is None:
                return

    def get(self, list_id: str) -> MailingList:
        """Return one list.

        Raises:
            InvalidPropertyError: The id is not made of letters and digits.
            NotFoundError: There is no such list.
            APIConnectionError: Klaviyo cannot be reached.
            APIStatusError: Klaviyo refused otherwise.
        """
        return self._shell.run(get_list, list_id)

    def members(self, list_id: str, *, subscriptions: bool = False) -> Iterator[Profile]:
        """Yield the profiles in a list, a page at a time.

        Args:
            list_id: Klaviyo's id of the list.
            subscriptions: Ask for `Profile.subscriptions` too: consent and suppression.

        Raises:
            InvalidPropertyError: The id is not made of letters and digits.
            NotFoundError: There is no such list.
            APIConnectionError: Klaviyo cannot be reached, or its pages lead back to one that was read.
            APIStatusError: Klaviyo refused otherwise.
        """
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            profiles, cursor = self._shell.run(
                list_members, list_id, subscriptions=subscriptions, cursor=cursor, seen=seen
            )
            yield from profiles
            if cursor is None:
                return

    def add(self, list_id: str, people: Iterable[Row], *, on_refused: OnRefused | None = None) -> BatchReport:
        """Add people to a list, 1,000 in one request, without changing their consent.

        Each person is found by the rules, with first contact where neither the map nor Klaviyo knows them. A row that
        is refused costs no other row. What concerns all of them, such as a map that cannot answer, ends the call. Who
        was added until then stays, and the same call may be made again: to add a person twice is to add them once.

        Args:
            list_id: Klaviyo's id of the list.
            people: Mappings with ``external_id``, ``email`` or both. Read 1,000 at a time.
            on_refused: Called with the number of a row, the row, and the error that says why it was not added.

        Raises:
            NotFoundError: There is no such list; nothing was written.
            InvalidPropertyError: The id is not made of letters and digits; nothing was written.
            StoreError: The identity map cannot answer.
            APIConnectionError: Klaviyo cannot be reached.
            APIStatusError: Klaviyo refused.
        """
        return self._change(member_to_add, add_members, list_id, people, on_refused)

    def remove(self, list_id: str, people: Iterable[Row], *, on_refused: OnRefused | None = None) -> BatchReport:
        """Take people from a list, 1,000 in one request, without changing their consent. No profile is made.

        Who has no profile, or is not in the list, counts as accepted.

        Args:
            list_id: Klaviyo's id of the list.
            people: As for `add`.
            on_refused: As for `add`.

        Raises:
            NotFoundError: There is no such list; nothing was written.
            InvalidPropertyError: The id is not made of letters and digits; nothing was written.
            StoreError: The identity map cannot answer.
            APIConnectionError: Klaviyo cannot be reached.
            APIStatusError: Klaviyo refused.
        """
        return self._change(member_to_remove, remove_members, list_id, people, on_refused)

    def _change(
        self, find: Find, change: Change, list_id: str, people: Iterable[Row], on_refused: OnRefused | None
    ) -> BatchReport:
        # Before any profile is made: a list that does not exist must not cost first contacts.
        self._shell.run(get_list, list_id)
        tally: Tally[Checked] = Tally(None, None, on_refused)
        # A part is changed before the next one is read. If the call ends in between, all rows before that are done.
        for part in _parts(people):
            # Several at once, because first contact waits for Klaviyo three times or more.
            found = several(lambda each: self._shell.run(find, each[1]), part, is_about_one)
            waiting = _count_found(tally, part, found)
            if waiting:
                members = [member for _, _, member in waiting]
                _count_changed(tally, waiting, self._shell.run(change, list_id, members))
            tally.tell(len(part))
        return tally.report()


@discreet
class AsyncLists:
    """Same as `Lists`, awaited. The people may come from an asynchronous iterable, too."""

    def __init__(self, shell: AsyncShell) -> None:
        self._shell = shell

    async def iterate(self) -> AsyncIterator[MailingList]:
        """Same as `Lists.iterate`, with ``async for``."""
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            lists, cursor = await self._shell.run(list_lists, cursor=cursor, seen=seen)
            for each in lists:
                yield each
            if cursor is None:
                return

    async def get(self, list_id: str) -> MailingList:
        """Same as `Lists.get`."""
        return await self._shell.run(get_list, list_id)

    async def members(self, list_id: str, *, subscriptions: bool = False) -> AsyncIterator[Profile]:
        """Same as `Lists.members`, with ``async for``."""
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            profiles, cursor = await self._shell.run(
                list_members, list_id, subscriptions=subscriptions, cursor=cursor, seen=seen
            )
            for profile in profiles:
                yield profile
            if cursor is None:
                return

    async def add(
        self, list_id: str, people: Iterable[Row] | AsyncIterable[Row], *, on_refused: OnRefused | None = None
    ) -> BatchReport:
        """Same as `Lists.add`."""
        return await self._change(member_to_add, add_members, list_id, people, on_refused)

    async def remove(
        self, list_id: str, people: Iterable[Row] | AsyncIterable[Row], *, on_refused: OnRefused | None = None
    ) -> BatchReport:
        """Same as `Lists.remove`."""
        return await self._change(member_to_remove, remove_members, list_id, people, on_refused)

    async def _change(
        self,
        find: Find,
        change: Change,
        list_id: str,
        people: Iterable[Row] | AsyncIterable[Row],
        on_refused: OnRefused | None,
    ) -> BatchReport:
        await self._shell.run(get_list, list_id)
        tally: Tally[Checked] = Tally(None, None, on_refused)
        async for part in _parts_async(people):
            found = await several_async(lambda each: self._shell.run(find, each[1]), part, is_about_one)
            waiting = _count_found(tally, part, found)
            if waiting:
                members = [member for _, _, member in waiting]
                _count_changed(tally, waiting, await self._shell.run(change, list_id, members))
            tally.tell(len(part))
        return tally.report()


def _parts(people: object) -> Iterator[list[tuple[int, Row]]]:
    """Yield numbered rows, as many as go into one request."""
    # Texts and mappings are iterables too, and would be read as rows of letters or of keys.
    if not isinstance(people, Iterable) or isinstance(people, str | bytes | Mapping):
        raise ConfigurationError("people has to be an iterable of mappings")
    rows = enumerate(cast("Iterable[Row]", people))
    while part := list(islice(rows, MOST_MEMBERS)):
        yield part


async def _parts_async(people: Iterable[Row] | AsyncIterable[Row]) -> AsyncIterator[list[tuple[int, Row]]]:
    if not isinstance(people, AsyncIterable):
        for part in _parts(people):
            yield part
        return
    numbers, part = count(), list[tuple[int, "Row"]]()
    async for row in people:
        part.append((next(numbers), row))
        if len(part) == MOST_MEMBERS:
            yield part
            part = []
    if part:
        yield part
