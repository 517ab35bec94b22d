"""What the identity maps share behind their contract, whatever keeps them."""

from safeklaviyo.stores import _failures as failures
from safeklaviyo.stores._ledger import owned
from safeklaviyo.stores._remembering import LONGEST, NOTE, SAID_FOR, outlast
from safeklaviyo.stores._twin import Twin
from safeklaviyo.stores.memory import _put as memory_put

__all__ = ["LONGEST", "NOTE", "SAID_FOR", "Twin", "failures", "memory_put", "outlast", "owned"]
