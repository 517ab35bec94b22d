"""The Lua scripts: two, one that only reads and one that writes, so that a server has to be taught no more than two."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from importlib.resources import files
from typing import Final


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the digest by which a server that has met it knows it."""

    source: bytes = field(repr=False)
    sha: str


def _script(*names: str) -> Script:
    source = b"\n".join((files("safeklaviyo.stores._redis") / name).read_bytes() for name in names)
    return Script(source, sha1(source, usedforsecurity=False).hexdigest())


READS: Final = _script("prelude.lua", "reads.lua")
WRITES: Final = _script("prelude.lua", "writes.lua")
