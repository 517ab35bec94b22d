"""What every sender does: the seam between the shells and the HTTP libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from safeklaviyo._api.messages import Request, Response
    from safeklaviyo._runtime.senders.timeouts import Timeouts
    from safeklaviyo._secrets import Secret


class Sender(Protocol):
    """Sends requests. Safe between threads."""

    def send(self, request: Request, timeouts: Timeouts, authorization: Secret | None = None) -> Response:
        """Send one request, once, and read the whole answer.

        The request carries the key to the target's host alone: no redirect is followed. It is given up at the end of
        its time, and an answer over `bodies.LIMIT` is no answer.

        Args:
            authorization: The value of this request's ``Authorization``, where the target's headers have none.

        Raises:
            ConfigurationError: The caller's client is closed.
            NotSentError: No byte of the request has left.
            NoResponseError: The request may have left, and no whole answer came back.
            BaseException: What a signal handler or a caller's hook has raised, as it was.
        """
        ...

    def close(self) -> None:
        """Close the connections that this sender has opened."""
        ...


class AsyncSender(Protocol):
    """Same as `Sender`, awaited. Belongs to one event loop."""

    async def send(self, request: Request, timeouts: Timeouts, authorization: Secret | None = None) -> Response:
        """Same as `Sender.send`."""
        ...

    async def aclose(self) -> None:
        """Same as `Sender.close`."""
        ...
