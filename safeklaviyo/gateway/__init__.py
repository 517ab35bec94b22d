"""The guard as a server: an ASGI application that stands between a shop in any language and Klaviyo.

`safeklaviyo gateway` serves it with uvicorn. Nothing is decided here about customers: that is `safeklaviyo.guard`.
"""

from safeklaviyo.gateway._application import Gateway

__all__ = ["Gateway"]
