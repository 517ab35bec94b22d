"""A request that may take two seconds, as in a view of a web application; what does not fit is told by its error."""

from safeklaviyo import DeadlineExceededError
from safeklaviyo.testing import KlaviyoSimulator

simulator = KlaviyoSimulator()
klaviyo = simulator.client()  # in a shop: Klaviyo(), 30 s for any one call
fast = klaviyo.with_options(deadline=2.0)  # a view: shares everything, and closing it closes nothing
unlimited = klaviyo.with_options(deadline=None)


def product(user_id: int, sku: str) -> str:
    try:
        fast.track("Viewed Product", external_id=user_id, properties={"sku": sku})
    except DeadlineExceededError as error:
        if not error.may_retry:
            return "lost, and perhaps recorded"
        klaviyo.outbox.track("Viewed Product", external_id=user_id, unique_id=error.unique_id, time=error.time)
        return "later"
    return "now"


def main() -> None:
    klaviyo.identify(external_id=42, email="ada@shop.test")
    print(product(42, "engine"))
    simulator.fail_next("create_event", status=503, headers={"retry-after": "20"}, times=1)  # longer than the view has
    print(product(42, "loom"))
    later = unlimited.outbox.drain().delivered  # in a shop: `safeklaviyo worker`
    simulator.drain()
    klaviyo.close()
    print(f"{len(simulator.events)} events, {later} of them later")


if __name__ == "__main__":
    main()
