"""What the identity maps share behind their contract, whatever keeps them."""

from safeklaviyo.stores.adapter import AsyncAdapter
from safeklaviyo.stores.memory import _put as memory_put
from safeklaviyo.stores.sqlite import _failures as failures

__all__ = ["AsyncAdapter", "failures", "memory_put"]
