"""How the map in Redis is reached and asked, and what its failures mean."""

from safeklaviyo.stores.redis import _failures as failures
from safeklaviyo.stores.redis import _packing as packing
from safeklaviyo.stores.redis import _persistence as persistence
from safeklaviyo.stores.redis import _servers as servers
from safeklaviyo.stores.redis._maps import Maps
from safeklaviyo.stores.redis._persistence import Persistence
from safeklaviyo.stores.redis._servers import CONNECTIONS

__all__ = ["CONNECTIONS", "Maps", "Persistence", "failures", "packing", "persistence", "servers"]
