"""``k.bindings``: the shop's access to its identity map, synchronous and asynchronous."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.verbs.add_bindings import add_bindings
from safeklaviyo._flows.verbs.bindings import get_binding, list_bindings, release_email, remove_binding
from safeklaviyo._flows.verbs.learn import Course, learn_page
from safeklaviyo._tracebacks import discreet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
    from uuid import UUID

    from safeklaviyo._runtime.async_shell import AsyncShell
    from safeklaviyo._runtime.shell import Shell
    from safeklaviyo.models import Binding, ImportReport, Progress


@discreet
class Bindings:
    """The identity map. Iterate over it with ``for``, which reads a part at a time."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def get(self, *, external_id: str | int | UUID | None = None, email: str | None = None) -> Binding | None:
        """Return the binding on which one identifier is current.

        Raises:
            InvalidIdentifierError: The identifier is unusable, or not exactly one was given.
            StoreError: The identity map cannot answer.
        """
        return self._shell.run(get_binding, external_id=external_id, email=email)

    def add(
        self, rows: Iterable[Binding | Mapping[str, object]], *, trusted: bool = False, verify: bool = False
    ) -> ImportReport:
        """Add the shop's customers. Each row is checked by itself, and nothing is written to Klaviyo.

        Args:
            rows: Bindings, or mappings with ``email`` and, if the shop has them, ``external_id``, ``profile_id``,
                ``phone_number``, ``former_emails`` and ``former_external_ids`` (lists). Read a thousand at a time, each
                thousand in one transaction. A row is refused for an identifier that an export has spoilt (R1), or if
                the map contradicts it; an unusable phone number is left out (R14). A former identifier resolves to its
                customer (R8, R11); a row of which one is another customer's is refused.
            trusted: The rows were checked with Klaviyo just now. Otherwise each is checked at its first use (R16).
            verify: Ask Klaviyo, about a hundred rows at a time. A row of which a profile shows just this pair is tied
                to that profile, and the first call about it is as fast as a later one. A row that Klaviyo contradicts
                is refused. Klaviyo's search may lag by minutes, so let no address change while this runs.

        Raises:
            StoreError: The identity map cannot answer.
            ConfigurationError: With `verify`, `trusted` was given too, or the dialect is the legacy one.
            APIConnectionError: With `verify`, Klaviyo cannot be reached. The rows before are added.
            APIStatusError: With `verify`, Klaviyo refused.
        """
        return self._shell.run(add_bindings, rows, trusted=trusted, verify=verify)

    def learn(self, *, on_progress: Callable[[Progress], object] | None = None) -> ImportReport:
        """Fill the map from Klaviyo's own profiles, a page of a hundred at a time. Nothing is written to Klaviyo.

        Each customer that is learnt is checked at the first use (R16). What contradicts the map is reported and changes
        nothing (P3). A customer about whom another call is writing is passed over. A run that was interrupted is gone
        on with by the next one; after the end the next one begins again. The client's deadline holds for each page.

        Args:
            on_progress: Called after each page.

        Returns:
            What became of the profiles of this run. A reason names the profile by Klaviyo's id.

        Raises:
            StoreError: The identity map cannot answer.
            ConfigurationError: The dialect is the legacy one.
            APIConnectionError: Klaviyo cannot be reached. The pages before are learnt.
            APIStatusError: Klaviyo refused.
        """
        # A flow for each page: the deadline holds for a page, and the caller's function, which may take its time or
        # raise, is called while no flow is open.
        course = Course()
        while not course.is_done:
            course = self._shell.run(learn_page, course)
            if on_progress is not None:
                on_progress(course.progress)
        return course.report

    def remove(self, *, external_id: str | int | UUID | None = None, email: str | None = None) -> bool:
        """Remove a binding and its former identifiers; False if there is none. Klaviyo's profile stays.

        Raises:
            InvalidIdentifierError: The identifier is unusable, or not exactly one was given.
            StoreError: The identity map cannot answer.
        """
        return self._shell.run(remove_binding, external_id=external_id, email=email)

    def release_email(self, email: str) -> bool:
        """Forget that an address is a former one, or that its owner was erased; False if the map has neither.

        Raises:
            InvalidIdentifierError: The text is not an address.
            StoreError: The identity map cannot answer.
        """
        return self._shell.run(release_email, email)

    def __iter__(self) -> Iterator[Binding]:
        # Page by page: one long read would hold a transaction of the store open for as long as the caller takes.
        after: str | None = None
        while True:
            page = self._shell.run(list_bindings, after=after)
            yield from page.bindings
            if page.next is None:
                return
            after = page.next


@discreet
class AsyncBindings:
    """Same as `Bindings`, awaited. Iterate over it with ``async for``."""

    def __init__(self, shell: AsyncShell) -> None:
        self._shell = shell

    async def get(self, *, external_id: str | int | UUID | None = None, email: str | None = None) -> Binding | None:
        """Same as `Bindings.get`."""
        return await self._shell.run(get_binding, external_id=external_id, email=email)

    async def add(
        self, rows: Iterable[Binding | Mapping[str, object]], *, trusted: bool = False, verify: bool = False
    ) -> ImportReport:
        """Same as `Bindings.add`."""
        return await self._shell.run(add_bindings, rows, trusted=trusted, verify=verify)

    async def learn(self, *, on_progress: Callable[[Progress], object] | None = None) -> ImportReport:
        """Same as `Bindings.learn`."""
        course = Course()
        while not course.is_done:
            course = await self._shell.run(learn_page, course)
            if on_progress is not None:
                on_progress(course.progress)
        return course.report

    async def remove(self, *, external_id: str | int | UUID | None = None, email: str | None = None) -> bool:
        """Same as `Bindings.remove`."""
        return await self._shell.run(remove_binding, external_id=external_id, email=email)

    async def release_email(self, email: str) -> bool:
        """Same as `Bindings.release_email`."""
        return await self._shell.run(release_email, email)

    async def __aiter__(self) -> AsyncIterator[Binding]:
        after: str | None = None
        while True:
            page = await self._shell.run(list_bindings, after=after)
            for binding in page.bindings:
                yield binding
            if page.next is None:
                return
            after = page.next
