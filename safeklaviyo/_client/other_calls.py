"""Calls to endpoints that have no verb. Both clients inherit theirs from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from safeklaviyo._flows.verbs.request import list_resources, request
from safeklaviyo._tracebacks import discreet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from safeklaviyo._runtime.async_shell import AsyncShell
    from safeklaviyo._runtime.shell import Shell
    from safeklaviyo.raw import RawResponse

    Scalar: TypeAlias = str | int | float | bool
    Params: TypeAlias = Mapping[str, Scalar | Sequence[Scalar] | None]

Method: TypeAlias = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]


@discreet
class OtherCalls:
    """The calls of `Klaviyo` to endpoints that have no verb."""

    _shell: Shell

    def request(
        self,
        method: Method,
        path: str,
        *,
        params: Params | None = None,
        json: Any = None,
        content: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> RawResponse:
        """Send a request to any other endpoint, with this client's key, pacing, retries, errors and deadline.

        A request that writes who customers are is refused with the verb to call. The person in a
        ``POST /api/back-in-stock-subscriptions`` or ``/api/push-tokens``, which have no verb, is found by the rules,
        with first contact if need be, and named by profile id.

        After a lost answer or a 5xx, GET, DELETE and PUT are sent again; POST and PATCH are not, because that could do
        a thing twice: `outcome` is then ``"unknown"``. A DELETE that is answered 404 when repeated raises
        `NotFoundError` with that outcome.

        Args:
            method: GET, POST, PATCH, PUT or DELETE.
            path: Below ``/api/``, encoded; or a link of Klaviyo's, such as ``links.next``, which is followed on this
                client's host alone.
            params: Parameters of the query. A list is joined with commas; what is None is left out.
            json: The body, as JSON; or
            content: the body as it is.
            headers: More headers, such as ``revision``, in place of the client's own. Never ``Authorization``.

        Raises:
            InvalidPropertyError: An argument cannot be sent, or the request has a verb; nothing was sent.
            IdentityError: Who the person is, is in doubt; nothing was sent.
            ConfigurationError: The dialect has no other endpoints.
            APIConnectionError: Klaviyo cannot be reached; `outcome` says whether it may have changed.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(request, method, path, params=params, json=json, content=content, headers=headers)

    def iterate(self, path: str, *, params: Params | None = None) -> Iterator[dict[str, Any]]:
        """Yield the resources of all pages of a GET, a page at a time.

        Args:
            path: As for `request`.
            params: As for `request`.

        Raises:
            InvalidPropertyError: An argument cannot be sent.
            ConfigurationError: The dialect has no other endpoints.
            APIConnectionError: Klaviyo cannot be reached, or its pages lead elsewhere, or back to one that was read.
            APIStatusError: Klaviyo refused.
        """
        # The link of Klaviyo's page is followed, because only Klaviyo knows what the next page is. The flow refuses a
        # link to another endpoint or host, which would get this client's key, and one that was followed before.
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            page = self._shell.run(list_resources, path, params=params, cursor=cursor, seen=seen)
            yield from page.rows
            if page.next is None:
                return
            cursor = page.next


@discreet
class AsyncOtherCalls:
    """Same as `OtherCalls`, awaited."""

    _shell: AsyncShell

    async def request(
        self,
        method: Method,
        path: str,
        *,
        params: Params | None = None,
        json: Any = None,
        content: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> RawResponse:
        """Same as `Klaviyo.request`."""
        return await self._shell.run(request, method, path, params=params, json=json, content=content, headers=headers)

    async def iterate(self, path: str, *, params: Params | None = None) -> AsyncIterator[dict[str, Any]]:
        """Same as `Klaviyo.iterate`, with ``async for``."""
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            page = await self._shell.run(list_resources, path, params=params, cursor=cursor, seen=seen)
            for row in page.rows:
                yield row
            if page.next is None:
                return
            cursor = page.next
