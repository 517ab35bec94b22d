"""What the identity maps share behind their contract, whatever keeps them."""

from safeklaviyo.stores import _failures as failures
from safeklaviyo.stores._twin import Twin

__all__ = ["Twin", "failures"]
