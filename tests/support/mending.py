"""What processes do that are going to be killed while they carry out a plan, and the plans that they carry out."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from safeklaviyo import APIConnectionError, Klaviyo, Policy
from safeklaviyo.audit import audit, repair
from support.victims import ACCOUNT, LAG, LEASE, opened

if TYPE_CHECKING:
    from pathlib import Path

    from safeklaviyo.testing import KlaviyoSimulator


def mend(url: str, store: str, plan: str) -> None:
    """Carry out a plan, as a process of its own."""
    # Its attempts are short, so that its leases are; on a busy machine one may be too short.
    with opened(url, store) as k, suppress(APIConnectionError):
        repair(k, plan, dry_run=False)


def patient(url: str, store: str) -> Klaviyo:
    """Open a client for those who are not going to be killed, on the same map."""
    policy = Policy(lease=LEASE, lag=LAG, wait=30.0, merge_wait=2.0, visible_wait=0.1)
    # A killed run's merge is waited for as long as one attempt of this client may take.
    return Klaviyo(
        "pk_victim",
        account=ACCOUNT,
        store=f"sqlite:///{store}",
        base_url=url,
        policy=policy,
        timeout=2.0,
        deadline=None,
    )


def pairs_to_mend(simulator: KlaviyoSimulator, name: str) -> list[tuple[str, str]]:
    """Make two customers who are there twice; return the profiles that end and those that stay."""
    made: list[tuple[str, str]] = []
    for number in (1, 2):
        into = simulator.add_profile(external_id=f"{name}-{number}", email=f"{name}-{number}@shop.test")
        source = simulator.add_profile(email=f"{name}-{number}@Shop.Test".upper())
        made.append((source.id, into.id))
    return made


def plan_for(k: Klaviyo, path: Path, wanted: list[tuple[str, str]]) -> Path:
    """Write the plan for some merges, of all that an audit plans."""
    with audit(k) as found:
        given = json.loads(found.plan().to_json())
    sources = {source for source, _ in wanted}
    given["merges"] = [each for each in given["merges"] if each["source"]["profile_id"] in sources]
    path.write_text(json.dumps(given))
    return path


def steps(path: Path) -> list[tuple[str, str]]:
    """Return what a journal says: of each step the profile that ends, and the state."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(each["source"], each["state"]) for each in lines[1:]]
