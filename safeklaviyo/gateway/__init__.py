"""The guard as a server: an ASGI application that stands between a shop in any language and Klaviyo.

`safeklaviyo gateway` serves it with uvicorn. `safeklaviyo.guard` decides everything about customers; this package only
receives calls, forwards them and answers them.
"""

from safeklaviyo.gateway._application import Gateway

__all__ = ["Gateway"]
