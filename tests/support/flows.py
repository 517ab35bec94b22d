"""How a flow is driven: what it may ask for, what it is begun with, and how it sends with patience."""

from safeklaviyo import _operations as operations
from safeklaviyo._budget import CAPACITY, RETRY_COST, SUCCESS_GAIN, TIMEOUT_COST, Budget
from safeklaviyo._flow import (
    Effect,
    Endpoint,
    Flow,
    Monotonic,
    NewId,
    Now,
    Recall,
    Renew,
    Repeat,
    Request,
    Response,
    Send,
    Sleep,
    StoreEffect,
)
from safeklaviyo._held import Held
from safeklaviyo._operations._call import Call, LeaseLostError, Setup
from safeklaviyo._operations._leases import outlast_caches
from safeklaviyo._pacing import LONGEST_CLOSURE, MARGIN, Pacer
from safeklaviyo._retry import Exchange, Failure, Line, may_repeat, transmit

__all__ = [
    "CAPACITY",
    "LONGEST_CLOSURE",
    "MARGIN",
    "RETRY_COST",
    "SUCCESS_GAIN",
    "TIMEOUT_COST",
    "Budget",
    "Call",
    "Effect",
    "Endpoint",
    "Exchange",
    "Failure",
    "Flow",
    "Held",
    "LeaseLostError",
    "Line",
    "Monotonic",
    "NewId",
    "Now",
    "Pacer",
    "Recall",
    "Renew",
    "Repeat",
    "Request",
    "Response",
    "Send",
    "Setup",
    "Sleep",
    "StoreEffect",
    "may_repeat",
    "operations",
    "outlast_caches",
    "transmit",
]
