"""The shop on Node, straight to a pretend Klaviyo, and through `safeklaviyo gateway`.

``npm install`` once, then ``python run.py``. In a shop there is no such program: the gateway is a service beside the
shop, and the shop's own environment has its address.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from safeklaviyo.testing import KlaviyoSimulator

HERE = Path(__file__).parent
KEY = {**os.environ, "KLAVIYO_API_KEY": "pk_shop"}


@contextmanager
def gateway(klaviyo: str, folder: str) -> Generator[str]:
    command = [sys.executable, "-m", "safeklaviyo", "gateway", "--listen", "127.0.0.1:0", "--mode", "enforce"]
    more = ["--base-url", klaviyo, "--account", "AbC123", "--store", f"sqlite:///{folder}/map.db"]
    with subprocess.Popen([*command, *more], env=KEY, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - all of it is written here
        assert process.stdout is not None
        try:
            yield next(word for word in process.stdout.readline().split() if word.startswith("http"))
        finally:
            process.terminate()


def day(url: str) -> None:
    subprocess.run(["node", "shop.js"], cwd=HERE, env={**KEY, "KLAVIYO_URL": url}, check=True)  # noqa: S607 - where it is differs


def told(simulator: KlaviyoSimulator, way: str) -> None:
    simulator.drain()
    customer = next(each for each in simulator.profiles if each.external_id == "1815")
    theirs = sum(1 for each in simulator.events if each.profile_id == customer.id)
    print(f"{way}: {len(simulator.profiles) - 1} duplicate, {theirs} of 2 events on the customer", flush=True)


def main() -> None:
    simulator = KlaviyoSimulator(account="AbC123", queue_lag=0.0)
    with simulator.serve() as url:
        day(url)
    told(simulator, "raw")

    simulator = KlaviyoSimulator(account="AbC123", queue_lag=0.0)
    with tempfile.TemporaryDirectory() as folder, simulator.serve() as klaviyo, gateway(klaviyo, folder) as url:
        day(url)
    told(simulator, "through the gateway")


if __name__ == "__main__":
    main()
