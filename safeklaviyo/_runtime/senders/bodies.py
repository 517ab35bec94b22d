"""The body of an answer, read with a limit of size and of time."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from safeklaviyo._runtime.senders.failures import BrokenAnswerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable

LIMIT: Final = 32 * 2**20
"""The longest body that is read, in bytes, before and after it is unpacked. Klaviyo's pages are under 10 MB."""


class Body:
    """The parts of a body, as they come.

    Args:
        parts: Those that have come already, within the limit.
        check: Raises if the attempt's time is over; called for each part, because each part alone may be in time.
    """

    __slots__ = ("_check", "_parts", "_size")

    def __init__(self, parts: list[bytes] | None = None, *, check: Callable[[], None] | None = None) -> None:
        self._check = check
        self._parts = [] if parts is None else parts
        self._size = 0

    def read(self, stream: Iterable[bytes]) -> Body:
        """Read all parts.

        Raises:
            BrokenAnswerError: The body is longer than `LIMIT`.
        """
        for part in stream:
            self._add(part)
        return self

    async def read_async(self, stream: AsyncIterable[bytes]) -> Body:
        """Same as `read`, awaited."""
        async for part in stream:
            self._add(part)
        return self

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > LIMIT:
            raise BrokenAnswerError("the answer is too large")
        if self._check is not None:
            self._check()
        self._parts.append(part)

    def unpacked(self, encoding: str | None) -> bytes:
        """Return the body without its one layer of gzip.

        A second layer is refused: 10 kB of ``gzip, gzip`` unpack to gigabytes.

        Args:
            encoding: The header ``content-encoding``. Requests accept gzip alone.

        Raises:
            BrokenAnswerError: The body is packed in another way, is broken, or is longer than `LIMIT` once unpacked.
        """
        # Most answers come in one piece, which need not be copied.
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        if encoding is None or encoding == "identity" or not body:
            return body
        if encoding not in {"gzip", "x-gzip"}:
            raise BrokenAnswerError("the answer is encoded in a way that was not asked for")
        unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            whole = unpacking.decompress(body, LIMIT)
        except zlib.error:
            raise BrokenAnswerError("the answer cannot be unpacked") from None
        # `LIMIT` bytes were asked for, so a longer body has not come to its end; and what follows its end is not
        # gzip's.
        if not unpacking.eof or unpacking.unused_data:
            raise BrokenAnswerError("the answer is too large, or was cut off")
        return whole
