"""Noticing calls that reach Klaviyo past the guard, by look-ups of Klaviyo's host.

Python's audit hooks see each look-up by Python's own resolver. They do not see resolvers of other languages, nor a
request over a connection that is open already. An audit hook cannot be removed. After the guard is taken away, the hook
does nothing.
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
    """Counts look-ups of Klaviyo's host that code outside of the guard makes, and logs the first with its stack."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._has_told = False

    def begin(self) -> None:
        """Begin to count."""
        _installed.append(self)
        if not _hooked:
            _hooked.append(True)
            sys.addaudithook(_audit)

    def end(self) -> None:
        """Stop counting. May be called twice."""
        if self in _installed:
            _installed.remove(self)

    def notice(self, host: object, port: object) -> None:
        """Count a look-up of Klaviyo's host, if no guarded call explains it.

        On a host of which only one port stands for Klaviyo, as on a developer's machine, look-ups for other ports are
        those of other servers, such as a task queue's broker.
        """
        if not isinstance(host, str | bytes) or is_busy.get():
            return
        name = (host if isinstance(host, str) else host.decode("latin-1")).lower().rstrip(".")
        clients = self._core.clients
        if not (clients.is_guarded(name) or clients.is_guarded(f"{name}:{port}")):
            return
        # An event loop looks hosts up in a thread, and that thread's stack does not show the caller. If a guarded call
        # is under way, the look-up is taken for that call's.
        by_whom = _by_whom(sys._getframe(1))  # noqa: SLF001 - as `traceback` does it
        if by_whom == "ours" or (by_whom == "a loop's thread" and self._core.under_way):
            return
        self._core.count("bypassed")
        # Once, because a shop with a forgotten path makes such calls all day; the counter has the number.
        if not self._has_told:
            self._has_told = True
            stack = "".join(traceback.format_stack(sys._getframe(1)))  # noqa: SLF001 - as above
            logger.warning("a call to Klaviyo bypasses the guard; it comes from\n%s", stack)


def _audit(event: str, given: tuple[Any, ...]) -> None:
    # Python calls this for each audited event of the process, so the common case leaves first.
    if event != "socket.getaddrinfo" or not _installed:
        return
    for each in tuple(_installed):
        # An audit hook that raises would fail the caller's look-up.
        try:
            each.notice(given[0], given[1])
        except Exception:
            logger.debug("a look-up could not be judged", exc_info=True)


def _by_whom(frame: FrameType | None) -> str:
    """Tell which code made a look-up: this package, an event loop's thread, or other code."""
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
