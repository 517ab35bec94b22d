"""Where in the shop's code a call comes from: the innermost frame that is not an HTTP library's, nor this package's."""

from __future__ import annotations

import sys
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


def calling_site() -> str | None:
    """Return the file and the line, such as ``shop/views.py:42``; None if only libraries are on the stack."""
    frame = sys._getframe(1)  # noqa: SLF001 - as `logging` does it
    # Bounded, because each call of an observed shop pays for it.
    for _ in range(_DEEPEST):
        name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if name not in _LIBRARIES:
            parts = frame.f_code.co_filename.replace("\\", "/").rsplit("/", 2)
            return f"{'/'.join(parts[-2:])}:{frame.f_lineno}"
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return None
