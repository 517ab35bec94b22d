"""A change of email that is interrupted by a kill while Klaviyo makes it, and that another process completes.

Decided here: the process dies at the worst moment, when Klaviyo has the request and the answer has not arrived.
The killed process is this module, run as a program.
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
class State:
    """How far the change has come.

    Attributes:
        is_in_map: The identity map has the new address.
        is_in_klaviyo: The customer's profile shows the new address.
        profiles: How many profiles Klaviyo has.
    """

    is_in_map: bool
    is_in_klaviyo: bool
    profiles: int


@dataclass(frozen=True, slots=True)
class Interruption:
    """What became of the change.

    Attributes:
        exit_code: The exit code of the killed process.
        after_kill: The state after the kill.
        recovered: The statuses that `recover` returned, in another process.
        after_recovery: The state after that.
        is_late_call_right: An event with the old address was recorded on the customer's one profile.
    """

    exit_code: int
    after_kill: State
    recovered: tuple[str, ...]
    after_recovery: State
    is_late_call_right: bool

    @property
    def is_clean(self) -> bool:
        """Whether the process was killed, and the change was then completed without a trace of the kill."""
        is_recovered = self.recovered == ("completed",) and self.after_recovery == State(True, True, 1)
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
            after_kill = _state(simulator, klaviyo)
            recovered = _recovered(klaviyo)
            after_recovery = _state(simulator, klaviyo)
            late = klaviyo.track("Opened Invoice", email=OLD)
        simulator.drain()
        landed = [event.profile_id for event in simulator.events] == [late.profile_id]
        return Interruption(exit_code, after_kill, recovered, after_recovery, landed and len(simulator.profiles) == 1)


def change(url: str, store: str) -> None:
    """Change the customer's email: the work of the process that is killed."""
    with _opened(url, store) as klaviyo:
        klaviyo.change_email(NEW, external_id=CUSTOMER)


def _opened(url: str, store: str) -> Klaviyo:
    return Klaviyo(_KEY, store=store, base_url=url, timeout=_ATTEMPT, policy=Policy(lease=_LEASE))


def _killed(simulator: KlaviyoSimulator, url: str, store: str) -> int:
    """Run the change in another process, kill it while Klaviyo has the PATCH, and let Klaviyo carry out the PATCH.

    Returns:
        The exit code of the process.
    """
    # The simulator serves the request in a thread, perhaps before `Popen` has returned: hence a future.
    victim: Future[subprocess.Popen[bytes]] = Future()

    def _kill(_asked: Asked) -> bool:
        victim.result(_PATIENCE).kill()
        return False  # this request does not fail: it is carried out

    simulator.fail_next("update_profile", match=_kill)
    with subprocess.Popen([sys.executable, "-m", __name__, url, store]) as process:  # noqa: S603 - this very module
        victim.set_result(process)
        return process.wait(_PATIENCE)


def _recovered(klaviyo: Klaviyo) -> tuple[str, ...]:
    """Complete the change, as soon as the lease of the killed process has expired."""
    end = time.monotonic() + _PATIENCE
    while not (recoveries := klaviyo.recover()) and time.monotonic() < end:
        time.sleep(_LEASE)
    return tuple(recovery.status for recovery in recoveries)


def _state(simulator: KlaviyoSimulator, klaviyo: Klaviyo) -> State:
    binding = klaviyo.bindings.get(external_id=CUSTOMER)
    profile = simulator.find(external_id=CUSTOMER)
    return State(
        is_in_map=binding is not None and binding.email == NEW,
        is_in_klaviyo=profile is not None and profile.email == NEW,
        profiles=len(simulator.profiles),
    )


if __name__ == "__main__":
    change(*sys.argv[1:])
