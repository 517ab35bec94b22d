"""The parts of the pretend Klaviyo that shops do not import: schedules, the demo, its server, and its own modules."""

from safeklaviyo import demo
from safeklaviyo.demo import script
from safeklaviyo.demo.counts import Counts, count
from safeklaviyo.demo.interruption import NEW, Interruption, State, change, run
from safeklaviyo.demo.shops import RawShop, SafeShop
from safeklaviyo.testing import simulator as package
from safeklaviyo.testing.frames import digest_of
from safeklaviyo.testing.points import Point
from safeklaviyo.testing.schedule import Explored, Limits, VirtualClock, World, explore
from safeklaviyo.testing.server import ASGIApp
from safeklaviyo.testing.simulator import routes

__all__ = [
    "NEW",
    "ASGIApp",
    "Counts",
    "Explored",
    "Interruption",
    "Limits",
    "Point",
    "RawShop",
    "SafeShop",
    "State",
    "VirtualClock",
    "World",
    "change",
    "count",
    "demo",
    "digest_of",
    "explore",
    "package",
    "routes",
    "run",
    "script",
]
