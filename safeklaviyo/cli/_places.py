"""Where the command line takes a store's URL from, which may hold a password.

Decided here: ``env:NAME`` and ``file:PATH`` stand for a URL, because every user of a host can read the command lines of
all processes on it.
"""

from __future__ import annotations

import os
import re
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Final

from safeklaviyo.cli._console import complain

_PASSWORD: Final = re.compile(r"//[^/@]*:[^/@]+@|password=[^&]")


def store_argument(text: str) -> str:
    """Return the URL that an argument gives, or that stands where the argument says.

    Raises:
        ArgumentTypeError: There is no URL. The message does not quote one.
    """
    kind, _, place = text.partition(":")
    if kind == "env":
        url = os.environ.get(place, "")
        missing = f"the environment has no {place}"
    elif kind == "file":
        # A line's end at the end of the file is no part of the URL.
        url, missing = _first_line(place), "the file that should hold the URL is empty"
    else:
        # A warning and no error: on a host of one's own the argument is safe, and scripts that have it go on.
        if _PASSWORD.search(text):
            complain(
                "every user of this host can read a password on the command line: give the URL as env:NAME or file:PATH"
            )
        return text
    if not url:
        raise ArgumentTypeError(missing)
    return url


def _first_line(place: str) -> str:
    try:
        return next(iter(Path(place).read_text("utf-8").split()), "")
    except (OSError, ValueError) as exc:
        problem = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise ArgumentTypeError(f"the file that should hold the URL cannot be read ({problem})") from None
