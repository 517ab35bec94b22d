"""How the map in Redis is reached and asked, and what its failures mean."""

from safeklaviyo.stores._redis import calls, failures, persistence, servers
from safeklaviyo.stores._redis.maps import Maps
from safeklaviyo.stores._redis.persistence import Persistence
from safeklaviyo.stores._redis.servers import CONNECTIONS

__all__ = ["CONNECTIONS", "Maps", "Persistence", "calls", "failures", "persistence", "servers"]
