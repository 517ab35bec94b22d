"""A change of email whose process is killed while Klaviyo makes it, and that another process completes.

Decided here: when the process dies, which is when nobody can know what Klaviyo has done: it has the request, and the
answer never arrives. The killed process is this module, run as a program.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from safeklaviyo import Klaviyo, Policy
from safeklaviyo.testing.simulator import KlaviyoSimulator

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.records import Asked

CUSTOMER: Final = "customer-00001"
OLD: Final = "customer-00001@shop.test"
NEW: Final = "customer-00001@new.test"

_KEY: Final = "pk_demo"
_PATIENCE: Final = 30.0
_ATTEMPT: Final = 1.0
_LEASE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Places:
    """Where the customer's address stands as the new one, and whether a late call finds the customer.

    Attributes:
        is_in_map: The identity map says the new address.
        is_in_klaviyo: The customer's profile shows it.
        profiles: How many profiles Klaviyo has.
    """

    is_in_map: bool
    is_in_klaviyo: bool
    profiles: int


@dataclass(frozen=True, slots=True)
class Interruption:
    """What became of the change.

    Attributes:
        exit_code: Of the process that was to make it.
        after_kill: How things stood then.
        recovered: What `recover` said, in another process.
        after_recovery: How things stand in the end.
        is_late_call_right: An event with the old address was recorded on the customer's one profile.
    """

    exit_code: int
    after_kill: Places
    recovered: tuple[str, ...]
    after_recovery: Places
    is_late_call_right: bool

    @property
    def is_clean(self) -> bool:
        """Whether the process died, and nothing of it is left."""
        is_recovered = self.recovered == ("completed",) and self.after_recovery == Places(True, True, 1)
        return self.exit_code == -signal.SIGKILL and is_recovered and self.is_late_call_right


def run() -> Interruption:
    """Begin a change of email in a process of its own, kill it, and complete the change from this one.

    Raises:
        RuntimeError: uvicorn is not installed.
    """
    simulator = KlaviyoSimulator(queue_lag=0.0)
    with TemporaryDirectory() as folder, simulator.serve() as url:
        store = f"sqlite:///{folder}/identity.db"
        with _opened(url, store) as klaviyo:
            klaviyo.identify(external_id=CUSTOMER, email=OLD)
            exit_code = _killed(simulator, url, store)
            after_kill = _places(simulator, klaviyo)
            recovered = _recovered(klaviyo)
            after_recovery = _places(simulator, klaviyo)
            late = klaviyo.track("Opened Invoice", email=OLD)
        simulator.drain()
        landed = [event.profile_id for event in simulator.events] == [late.profile_id]
        return Interruption(exit_code, after_kill, recovered, after_recovery, landed and len(simulator.profiles) == 1)


def change(url: str, store: str) -> None:
    """Change the customer's email, as the process does that will not live to see the answer."""
    with _opened(url, store) as klaviyo:
        klaviyo.change_email(NEW, external_id=CUSTOMER)


def _opened(url: str, store: str) -> Klaviyo:
    return Klaviyo(_KEY, store=store, base_url=url, timeout=_ATTEMPT, policy=Policy(lease=_LEASE))


def _killed(simulator: KlaviyoSimulator, url: str, store: str) -> int:
    """Run the change in another process that is killed while Klaviyo has the PATCH, which is done all the same."""
    victim: Future[subprocess.Popen[bytes]] = Future()

    def kill(_asked: Asked) -> bool:
        victim.result(_PATIENCE).kill()
        return False

    simulator.fail_next("update_profile", match=kill)
    with subprocess.Popen([sys.executable, "-m", __name__, url, store]) as process:  # noqa: S603 - this very module
        victim.set_result(process)
        return process.wait(_PATIENCE)


def _recovered(klaviyo: Klaviyo) -> tuple[str, ...]:
    """Recover what was left behind, once the lease of the process that died has expired."""
    end = time.monotonic() + _PATIENCE
    while not (recoveries := klaviyo.recover()) and time.monotonic() < end:
        time.sleep(_LEASE)
    return tuple(recovery.status for recovery in recoveries)


def _places(simulator: KlaviyoSimulator, klaviyo: Klaviyo) -> Places:
    binding = klaviyo.bindings.get(external_id=CUSTOMER)
    profile = simulator.find(external_id=CUSTOMER)
    return Places(
        is_in_map=binding is not None and binding.email == NEW,
        is_in_klaviyo=profile is not None and profile.email == NEW,
        profiles=len(simulator.profiles),
    )


if __name__ == "__main__":
    change(*sys.argv[1:])
