"""The Lua scripts, and the Redis keys that they read and write: what is kept where, and why there.

There are two scripts, one that only reads and one that writes, so that a server has to load no more than two.

An account's map has four keys, and all that is looked up by name is in one hash, the *map*. The reasons:

- a script has to name its keys before it runs;
- the four share a hash tag, and so a slot of a cluster;
- an eviction or a restart loses the map as a whole. It cannot lose the bindings and keep ``@schema``, which would look
  like an empty map (P6).

======================  =====================================================================
``prefix:{account}``    the map
``b`` key               a binding: external id, email, profile id, phone number, verified_at, version
``i`` identifier        its owner: the key of a binding; once it is retired, also since when
``f`` key               the identifiers that were retired from a binding; some may have another owner by now
``l`` token             a lease: when it expires, its intent, its identifiers
``c`` identifier        the token of the lease on it
``j`` key               the numbers of the journal's rows about a binding
``n`` name              a note
``@schema``             the version of this layout
``@generation``         when the map was made, which is its name: no other map has it
``@serial``             the number given last: keys, tokens and journal rows share one counter
``@ahead``              the number of the first journal row that was copied from a map with its clock ahead, if any
``prefix:{account}:…``  sorted sets: ``bindings`` by key, ``leases`` by expiry, ``journal`` by number
======================  =====================================================================

An identifier begins with the letter of its kind. Texts are UTF-8. Three bytes that never occur in UTF-8 separate fields
and records, and stand for None. So nothing has to be escaped, and no number passes through Lua's JSON, which would
round it. Times are whole microseconds by the server's clock. A serial number is never below the time, so that a server
with an older copy of the map does not give a number twice.

Read next: `prelude.lua`, `writes.lua`, then `packing`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from importlib.resources import files
from typing import Final


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and the digest by which a server that has loaded the script finds it."""

    source: bytes = field(repr=False)
    sha: str


def _script(*names: str) -> Script:
    source = b"\n".join((files("safeklaviyo.stores.redis") / name).read_bytes() for name in names)
    return Script(source, sha1(source, usedforsecurity=False).hexdigest())


READS: Final = _script("prelude.lua", "reads.lua")
WRITES: Final = _script("prelude.lua", "writes.lua")
