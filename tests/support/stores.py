"""What the identity maps share behind their contract, whatever keeps them."""

from safeklaviyo.stores.memory import _put as memory_put
from safeklaviyo.stores.sqlite import _failures as failures
from safeklaviyo.stores.twin import Twin

__all__ = ["Twin", "failures", "memory_put"]
