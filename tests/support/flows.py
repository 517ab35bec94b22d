"""How a flow is driven: what it may ask for, what it is begun with, and how it sends with patience."""

from types import SimpleNamespace

from safeklaviyo._api.messages import Endpoint, Repeat, Request, Response
from safeklaviyo._effects import Effect, Flow, Monotonic, NewId, Now, Send, Sleep, StartDeadline
from safeklaviyo._flows.call import Call, LeaseLostError, Setup, Shared
from safeklaviyo._flows.leased.intents import (
    ChangeIntent,
    ContactIntent,
    EraseIntent,
    GiveIntent,
    Intent,
    MergeIntent,
    RepairIntent,
    WithdrawIntent,
    decode,
)
from safeklaviyo._flows.required import required
from safeklaviyo._flows.verbs import (
    add_bindings,
    bindings,
    change_email,
    change_external_id,
    change_phone_number,
    consent,
    erase,
    explain,
    identify,
    learn,
    merge,
    profiles,
    recheck_changes,
    recover,
    resolve,
    subscribe,
    track,
    unsubscribe,
)
from safeklaviyo._runtime.held_leases import Held
from safeklaviyo._sending.budget import CAPACITY, RETRY_COST, SUCCESS_GAIN, TIMEOUT_COST, Budget
from safeklaviyo._sending.deadline import Deadline
from safeklaviyo._sending.failures import Failure, may_repeat
from safeklaviyo._sending.line import Line
from safeklaviyo._sending.pacing import LONGEST_CLOSURE, MARGIN, Pacer
from safeklaviyo._sending.retry import Exchange, transmit
from safeklaviyo.stores.calls import Call as StoreEffect
from safeklaviyo.stores.calls import Recall

operations = SimpleNamespace(
    **{
        name: value
        for module in (
            add_bindings,
            bindings,
            change_email,
            change_external_id,
            change_phone_number,
            consent,
            erase,
            explain,
            identify,
            learn,
            merge,
            profiles,
            recheck_changes,
            recover,
            resolve,
            subscribe,
            track,
            unsubscribe,
        )
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    }
)
"""The flow of each public verb, by its name."""

__all__ = [
    "CAPACITY",
    "LONGEST_CLOSURE",
    "MARGIN",
    "RETRY_COST",
    "SUCCESS_GAIN",
    "TIMEOUT_COST",
    "Budget",
    "Call",
    "ChangeIntent",
    "ContactIntent",
    "Deadline",
    "Effect",
    "Endpoint",
    "EraseIntent",
    "Exchange",
    "Failure",
    "Flow",
    "GiveIntent",
    "Held",
    "Intent",
    "LeaseLostError",
    "Line",
    "MergeIntent",
    "Monotonic",
    "NewId",
    "Now",
    "Pacer",
    "Recall",
    "RepairIntent",
    "Repeat",
    "Request",
    "Response",
    "Send",
    "Setup",
    "Shared",
    "Sleep",
    "StartDeadline",
    "StoreEffect",
    "WithdrawIntent",
    "decode",
    "may_repeat",
    "operations",
    "required",
    "transmit",
]
