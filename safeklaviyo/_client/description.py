"""How a client describes itself, without its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from safeklaviyo._runtime.config import Wiring


class Described:
    """The `repr` of both clients."""

    _wiring: Wiring

    def __repr__(self) -> str:
        # A client that could not be made is shown too, in the traceback of the error that says so.
        wiring: Wiring | None = getattr(self, "_wiring", None)
        if wiring is None:
            return f"{type(self).__name__}(not made)"
        account = "" if wiring.account is None else f", account={wiring.account!r}"
        return f"{type(self).__name__}({wiring.target.base!r}, dialect={wiring.dialect.name!r}{account})"
