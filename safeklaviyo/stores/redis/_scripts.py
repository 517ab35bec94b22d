"""The Lua scripts, and the Redis keys that they read and write: what is kept where, and why there.

There are two, one that only reads and one that writes, so that a server has to be taught no more than two.

An account's map is four keys, and all that is found by name is in one hash, the *map*. So the keys of a script are
known before it runs, they share a hash tag and with it a slot of a cluster, and a map that an eviction or a restart
takes away is gone as a whole: it cannot seem to know nobody while its schema still stands.

======================  =====================================================================
``prefix:{account}``    the map
``b`` key               a binding: external id, email, profile id, phone number, verified_at, version
``i`` identifier        the key of the binding it belongs to; once it is retired, also since when
``f`` key               the identifiers that were retired from a binding; some may belong elsewhere by now
``l`` token             a lease: when it expires, its intent, its identifiers
``c`` identifier        the token of the lease that covers it
``j`` key               the numbers of the journal's rows about a binding
``n`` name              a note
``@schema``             the version of this layout
``@generation``         when the map was made: the name of this map and no other
``@serial``             the number given last: keys, tokens and journal rows share one counter
``@ahead``              the number of the first journal row that came from a map whose clock was ahead, if there is one
``prefix:{account}:…``  sorted sets: ``bindings`` by key, ``leases`` by expiry, ``journal`` by number
======================  =====================================================================

An identifier begins with the letter of its kind. Texts are UTF-8, in which three bytes never occur: they separate
fields and records, and stand for None, so that nothing has to be escaped and no number passes through Lua's JSON.
Times are whole microseconds by the server's clock, and a serial number is never below the time.

Read next: `prelude.lua`, `writes.lua`, then `packing`.
"""

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
    source = b"\n".join((files("safeklaviyo.stores.redis") / name).read_bytes() for name in names)
    return Script(source, sha1(source, usedforsecurity=False).hexdigest())


READS: Final = _script("prelude.lua", "reads.lua")
WRITES: Final = _script("prelude.lua", "writes.lua")
