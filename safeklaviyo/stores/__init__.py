"""The identity map: its contract, the stores that keep it, and the URLs by which a store is named.

- `base` is the contract, `calls` has its operations as data, `opening` reads URLs.
- `semantics` carries the operations out for the stores of one host, `memory` and `sqlite`, over the rows of `rows`.
- `postgres` and `redis` have the same steps as functions and scripts that run on their servers.
"""

from safeklaviyo.stores.opening import default_url, open_async_store, open_store

__all__ = ["default_url", "open_async_store", "open_store"]
