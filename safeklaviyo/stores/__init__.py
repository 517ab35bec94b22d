"""The identity map: its contract, the stores that keep it, and the URLs by which a store is named.

`base` is the contract and `calls` its operations as data; `semantics` says what each does, over the rows that `memory`
and `sqlite` keep; `postgres` and `redis` leave the doing to their servers; `opening` reads URLs.
"""

from safeklaviyo.stores.opening import default_url, open_async_store, open_store

__all__ = ["default_url", "open_async_store", "open_store"]
