"""How a client describes itself, without its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from safeklaviyo._runtime.config import Wiring


class Described:
    """The `repr` of both clients."""

    _wiring: Wiring

    def __repr__(self) -> str:
        wiring = self._wiring
        account = "" if wiring.account is None else f", account={wiring.account!r}"
        return f"{type(self).__name__}({wiring.target.base!r}, dialect={wiring.dialect.name!r}{account})"
