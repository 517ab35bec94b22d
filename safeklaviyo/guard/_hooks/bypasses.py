"""Noticing calls that reach Klaviyo past the guard: look-ups of its host that come from elsewhere.

Python's audit hooks see each look-up by Python's own resolver. They do not see resolvers of other languages, nor a
connection that is kept open. A hook cannot be removed: after the guard is taken away it does nothing.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo.guard._core import is_busy

if TYPE_CHECKING:
    from types import FrameType

    from safeklaviyo.guard._core import Core

logger = logging.getLogger("safeklaviyo")

_OURS: Final = "safeklaviyo"
_DEEPEST: Final = 200
_installed: list[Bypasses] = []
_hooked: list[bool] = []


class Bypasses:
    """Counts look-ups of Klaviyo's host from outside of the guard, and logs the first with its stack."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._has_told = False

    def begin(self) -> None:
        """Begin to look."""
        _installed.append(self)
        if not _hooked:
            _hooked.append(True)
            sys.addaudithook(_audit)

    def end(self) -> None:
        """Stop looking. May be called twice."""
        if self in _installed:
            _installed.remove(self)

    def notice(self, host: object) -> None:
        """Take in a look-up."""
        if not isinstance(host, str | bytes) or is_busy.get():
            return
        name = (host if isinstance(host, str) else host.decode("latin-1")).lower().rstrip(".")
        if name not in self._core.clients.names:
            return
        # In a thread of an event loop's there is no caller to be seen; a call that is under way explains the look-up.
        by_whom = _by_whom(sys._getframe(1))  # noqa: SLF001 - as `traceback` does it
        if by_whom == "ours" or (by_whom == "a loop's thread" and self._core.under_way):
            return
        self._core.count("bypassed")
        if not self._has_told:
            self._has_told = True
            stack = "".join(traceback.format_stack(sys._getframe(1)))  # noqa: SLF001 - as above
            logger.warning("a call to Klaviyo bypasses the guard; it comes from\n%s", stack)


def _audit(event: str, given: tuple[Any, ...]) -> None:
    if event != "socket.getaddrinfo" or not _installed:
        return
    for each in tuple(_installed):
        # An audit hook that raises would fail the caller's look-up.
        try:
            each.notice(given[0])
        except Exception:
            logger.debug("a look-up could not be judged", exc_info=True)


def _by_whom(frame: FrameType | None) -> str:
    """Tell whether a look-up is this package's own, or one that an event loop has handed to a thread."""
    name = ""
    for _ in range(_DEEPEST):
        if frame is None:
            break
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith(_OURS) and not name.startswith(f"{_OURS}.guard._hooks.bypasses"):
            return "ours"
        if name == "concurrent.futures.thread":
            return "a loop's thread"
        frame = frame.f_back
    return "another's"
