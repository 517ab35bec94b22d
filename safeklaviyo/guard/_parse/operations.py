"""Recognising the operation of a request, by the one table of paths (`_api.paths`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from posixpath import normpath
from typing import Final
from urllib.parse import unquote

from safeklaviyo._api.paths import NAMING, PROFILES_PATH

_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9_-]+)+/?", re.ASCII)
_URL: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*))?([^?#]*)", re.ASCII)
_REMEMBERED: Final = 256
"""How many addresses are remembered. A shop calls few different ones."""
_OF_ONE: Final = f"{PROFILES_PATH}/"


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that names people.

    Attributes:
        name: Klaviyo's id of the operation.
        profile_id: The profile's id in the path; None if the path has none.
        is_disguised: Servers may read this path in different ways.
    """

    name: str
    profile_id: str | None = None
    is_disguised: bool = False


@lru_cache(_REMEMBERED)
def split_url(url: str) -> tuple[str, str]:
    """Return the host with its port, in lower case, and the path without the query. A URL without host has none."""
    found = _URL.match(url)
    assert found is not None  # each part may be empty
    return (found[1] or "").rpartition("@")[2].lower(), found[2]


@lru_cache(_REMEMBERED)
def operation_of(method: str, path: str) -> Operation | None:
    """Return the operation of a request; None if the operation names no people, or is a read."""
    # Step 1: look the path up as Klaviyo's reference writes it. Nearly all requests end here.
    found = _found(method, path)
    if found is not None or method.upper() == "GET":
        return found
    # Step 2: look the path up as a server may read it. Capitals, dots and percent codes must not lead past the table
    # (F-7).
    if _PLAIN.fullmatch(path) and path == path.lower():
        return None
    read = normpath(unquote(path).replace("\\", "/")).lower()
    found = _found(
        method.upper(), read if read.startswith("/") and not read.startswith("//") else f"/{read.lstrip('/')}"
    )
    return None if found is None else Operation(found.name, found.profile_id, is_disguised=True)


def _found(method: str, path: str) -> Operation | None:
    path = path.removesuffix("/")
    name = NAMING.get((method, path))
    if name is not None:
        return Operation(name)
    if path.startswith(_OF_ONE):
        profile_id = path[len(_OF_ONE) :]
        name = None if "/" in profile_id else NAMING.get((method, f"{_OF_ONE}{{}}"))
        return None if name is None else Operation(name, profile_id)
    return None
