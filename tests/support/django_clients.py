"""How the clients of Django's settings write rows."""

from safeklaviyo.django._clients import _INSERTING as INSERTING
from safeklaviyo.stores.outbox import calls as outbox_calls

__all__ = ["INSERTING", "outbox_calls"]
