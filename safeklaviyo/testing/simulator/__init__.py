"""A pretend Klaviyo. Start at `simulators`, which has the steps of a request; `readings` lists the open questions."""

from safeklaviyo.testing.simulator.readings import Readings
from safeklaviyo.testing.simulator.records import (
    Answer,
    Asked,
    ConnectionLost,
    ConnectionRefused,
    Entry,
    Event,
    Profile,
)
from safeklaviyo.testing.simulator.refusals import CLOUDFLARE_PAGE
from safeklaviyo.testing.simulator.simulators import KlaviyoSimulator

__all__ = [
    "CLOUDFLARE_PAGE",
    "Answer",
    "Asked",
    "ConnectionLost",
    "ConnectionRefused",
    "Entry",
    "Event",
    "KlaviyoSimulator",
    "Profile",
    "Readings",
]
