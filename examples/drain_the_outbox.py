"""One drain of the outbox, by whatever calls it: a line of cron, a periodic task, a management command.

The worker, `safeklaviyo worker`, is the usual way. This is for a shop that has a scheduler and wants no other process.
"""

from safeklaviyo import Klaviyo
from safeklaviyo.testing import KlaviyoSimulator

simulator = KlaviyoSimulator()
klaviyo: Klaviyo = simulator.client()  # in a shop: Klaviyo()


def drain() -> None:
    report = klaviyo.outbox.drain(limit=10_000)
    print(f"{report.delivered} delivered, {report.waiting} waiting, {report.dead} dead, next at {report.next_due}")


def mend(rule: str) -> int:
    """Try rows again that a rule has refused, once their reason is gone."""
    return klaviyo.outbox.retry(rule=rule)


def main() -> None:
    klaviyo.outbox.track("Placed Order", external_id="1815", email="ada@shop.test", unique_id="order-1")
    # The customer has another address in Klaviyo by now, so the rules refuse the second order (R6).
    klaviyo.outbox.track("Placed Order", external_id="1815", email="old@shop.test", unique_id="order-2")
    drain()
    klaviyo.change_email("old@shop.test", external_id="1815")
    print(f"{mend('R6')} to be tried again")
    drain()
    klaviyo.close()


if __name__ == "__main__":
    main()
