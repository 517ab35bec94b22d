"""Where in the shop's code a call comes from: the innermost frame that is not an HTTP library's, nor this package's."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Final

_LIBRARIES: Final = frozenset(
    {
        "_asyncio", "aiohttp", "anyio", "asgiref", "asyncio", "concurrent", "contextlib", "contextvars",
        "functools", "httpcore", "httpcore2", "httpx", "httpx2", "importlib", "klaviyo_api", "openapi_client",
        "pydantic", "requests", "requests_toolbelt", "runpy", "safeklaviyo", "selectors", "sentry_sdk",
        "sniffio", "socket", "ssl", "tenacity", "threading", "urllib", "urllib3", "uvicorn", "wrapt",
    }
)  # fmt: skip
_DEEPEST: Final = 100
_REMEMBERED: Final = 1000


def calling_site() -> str | None:
    """Return the file and the line, such as ``shop/views.py:42``; None if only libraries are on the stack."""
    frame = sys._getframe(1)  # noqa: SLF001 - as `logging` does it
    for _ in range(_DEEPEST):
        if not _is_librarys(frame.f_globals.get("__name__")):
            return _shown(frame.f_code.co_filename, frame.f_lineno)
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return None


@lru_cache(_REMEMBERED)
def _is_librarys(module: object) -> bool:
    return str(module or "").partition(".")[0] in _LIBRARIES


@lru_cache(_REMEMBERED)
def _shown(path: str, line: int) -> str:
    return f"{'/'.join(path.replace(chr(92), '/').rsplit('/', 2)[-2:])}:{line}"
