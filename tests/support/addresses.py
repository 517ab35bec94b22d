"""How addresses are read, and what is remembered of them."""

from safeklaviyo._addresses import _domain as domain
from safeklaviyo._addresses import ascii_address, plain_address

__all__ = ["ascii_address", "domain", "plain_address"]
