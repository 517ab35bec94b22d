"""``k.profiles``: Klaviyo's profiles by their ids, synchronous and asynchronous."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo._flows.verbs.merge import merge_profiles, plan_merge
from safeklaviyo._flows.verbs.profiles import get_profile, list_profiles, search_profiles, update_profile
from safeklaviyo._tracebacks import discreet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Mapping
    from uuid import UUID

    from safeklaviyo._runtime.async_shell import AsyncShell
    from safeklaviyo._runtime.shell import Shell
    from safeklaviyo.models import MergePlan, MergeRequest, Profile


@discreet
class Profiles:
    """Klaviyo's profiles. None of its methods changes an identifier."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def search(
        self,
        *,
        email: str | None = None,
        external_id: str | int | UUID | None = None,
        phone_number: str | None = None,
        subscriptions: bool = False,
    ) -> list[Profile]:
        """Return the profiles that one identifier names; several in old accounts, and none right after a write.

        Klaviyo's search may lag behind; each profile that it names is read by its id, so what is returned is current.

        Args:
            email: An address, or
            external_id: the shop's id, or
            phone_number: a phone number.
            subscriptions: Ask for `Profile.subscriptions` too: consent and suppression.

        Raises:
            InvalidIdentifierError: The identifier is unusable, or not exactly one was given.
            APIConnectionError: Klaviyo cannot be reached.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(
            search_profiles,
            external_id=external_id,
            email=email,
            phone_number=phone_number,
            subscriptions=subscriptions,
        )

    def get(self, profile_id: str, *, subscriptions: bool = False) -> Profile:
        """Return one profile.

        Args:
            profile_id: Klaviyo's id.
            subscriptions: Ask for `Profile.subscriptions` too: consent and suppression.

        Raises:
            InvalidIdentifierError: The id is not made of letters and digits.
            NotFoundError: There is no such profile.
            APIConnectionError: Klaviyo cannot be reached.
            APIStatusError: Klaviyo refused otherwise.
        """
        return self._shell.run(get_profile, profile_id, subscriptions=subscriptions)

    def update(
        self,
        profile_id: str,
        properties: Mapping[str, Any] | None = None,
        *,
        append: Mapping[str, Any] | None = None,
        unappend: Mapping[str, Any] | None = None,
        unset: str | Collection[str] | None = None,
    ) -> Profile:
        """Write properties onto one profile, and return it as it is then. See `Klaviyo.identify` for the arguments.

        What was left out is in the `warnings` of what is returned.

        Raises:
            InvalidIdentifierError: The id is not made of letters and digits.
            InvalidPropertyError: One is an identifier, which has a verb of its own, or `Policy.properties` refuses what
                cannot be sent.
            NotFoundError: There is no such profile.
            APIConnectionError: Klaviyo cannot be reached; `outcome` says whether it may have changed.
            APIStatusError: Klaviyo refused otherwise.
        """
        return self._shell.run(update_profile, profile_id, properties, append=append, unappend=unappend, unset=unset)

    def plan_merge(self, source: str, into: str) -> MergePlan:
        """Say what merging one profile into another would do, and what forbids it. Nothing is written.

        Raises:
            NotFoundError: One of them is not there.
            APIConnectionError: Klaviyo cannot be reached.
            APIStatusError: Klaviyo refused otherwise.
        """
        return self._shell.run(plan_merge, source, into)

    def merge(self, source: str, into: str, *, allow_suppressed: bool = False) -> MergeRequest:
        """Merge one profile into another, where the evidence allows it. It cannot be undone.

        Waits, as long as the policy says, until the source is gone. Its address is retired to the survivor, so that a
        late call with it does not create the profile again.

        Args:
            source: The id of the profile that ends.
            into: The id of the profile that stays.
            allow_suppressed: Merge even if the survivor can then no longer be written to.

        Raises:
            AmbiguousIdentityError: The source may be another customer's, or a consent would be lost; nothing was done.
            NotFoundError: One of them is not there.
            LeaseHeldError: Another call is writing about one of them.
            APIConnectionError: Klaviyo cannot be reached; `outcome` says whether it may have changed.
            APIStatusError: Klaviyo refused otherwise.
        """
        return self._shell.run(merge_profiles, source, into, allow_suppressed=allow_suppressed)

    def iterate(
        self,
        *,
        filter: str | None = None,
        sort: str | None = None,
        page_size: int = 100,
        subscriptions: bool = False,
    ) -> Iterator[Profile]:
        """Yield all profiles, a page at a time.

        Args:
            filter: In Klaviyo's filter language, such as ``greater-than(updated,2026-01-01T00:00:00Z)``.
            sort: Such as ``"-updated"``.
            page_size: From 1 to 100.
            subscriptions: Ask for `Profile.subscriptions` too: consent and suppression.

        Raises:
            ConfigurationError: The page size, or the dialect, does not allow it.
            APIConnectionError: Klaviyo cannot be reached, or its pages lead back to one that was read.
            APIStatusError: Klaviyo refused.
        """
        cursor: str | None = None
        # As in `Lists.iterate`: pages that lead back to one another end with an error.
        seen: set[str] = set()
        while True:
            page = self._shell.run(
                list_profiles,
                filter=filter,
                sort=sort,
                page_size=page_size,
                subscriptions=subscriptions,
                cursor=cursor,
                seen=seen,
            )
            yield from page.profiles
            if page.cursor is None:
                return
            cursor = page.cursor


@discreet
class AsyncProfiles:
    """Same as `Profiles`, awaited."""

    def __init__(self, shell: AsyncShell) -> None:
        self._shell = shell

    async def search(
        self,
        *,
        email: str | None = None,
        external_id: str | int | UUID | None = None,
        phone_number: str | None = None,
        subscriptions: bool = False,
    ) -> list[Profile]:
        """Same as `Profiles.search`."""
        return await self._shell.run(
            search_profiles,
            external_id=external_id,
            email=email,
            phone_number=phone_number,
            subscriptions=subscriptions,
        )

    async def get(self, profile_id: str, *, subscriptions: bool = False) -> Profile:
        """Same as `Profiles.get`."""
        return await self._shell.run(get_profile, profile_id, subscriptions=subscriptions)

    async def update(
        self,
        profile_id: str,
        properties: Mapping[str, Any] | None = None,
        *,
        append: Mapping[str, Any] | None = None,
        unappend: Mapping[str, Any] | None = None,
        unset: str | Collection[str] | None = None,
    ) -> Profile:
        """Same as `Profiles.update`."""
        return await self._shell.run(
            update_profile, profile_id, properties, append=append, unappend=unappend, unset=unset
        )

    async def plan_merge(self, source: str, into: str) -> MergePlan:
        """Same as `Profiles.plan_merge`."""
        return await self._shell.run(plan_merge, source, into)

    async def merge(self, source: str, into: str, *, allow_suppressed: bool = False) -> MergeRequest:
        """Same as `Profiles.merge`."""
        return await self._shell.run(merge_profiles, source, into, allow_suppressed=allow_suppressed)

    async def iterate(
        self,
        *,
        filter: str | None = None,
        sort: str | None = None,
        page_size: int = 100,
        subscriptions: bool = False,
    ) -> AsyncIterator[Profile]:
        """Same as `Profiles.iterate`, with ``async for``."""
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            page = await self._shell.run(
                list_profiles,
                filter=filter,
                sort=sort,
                page_size=page_size,
                subscriptions=subscriptions,
                cursor=cursor,
                seen=seen,
            )
            for profile in page.profiles:
                yield profile
            if page.cursor is None:
                return
            cursor = page.cursor
