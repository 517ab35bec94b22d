"""A pretend Klaviyo. Start at `simulators`, which says what a request meets on its way; `readings` lists the doubts."""

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
