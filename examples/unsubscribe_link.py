"""The link in a mail, and the one-click POST of RFC 8058: fast, and no withdrawal is lost."""

from safeklaviyo import Klaviyo, RetryPolicy, SafeKlaviyoError
from safeklaviyo.testing import KlaviyoSimulator

DEADLINE = 2.0
"""Seconds that the page may take."""
ONCE = RetryPolicy(max_attempts=1)


def unsubscribe(klaviyo: Klaviyo, address: str) -> tuple[int, str]:
    """Return the status and the text of the page."""
    try:
        change = klaviyo.with_options(deadline=DEADLINE, retry=ONCE).unsubscribe("email", email=address)
    except SafeKlaviyoError:
        klaviyo.outbox.unsubscribe("email", email=address)  # durable; it may be repeated as often as you like
        return 202, "You will be unsubscribed."
    if not change.profile_ids:
        return 200, "This address gets no mail from us."
    return 200, "You are unsubscribed."


def main() -> None:
    simulator = KlaviyoSimulator()
    with simulator.client() as klaviyo:
        # Ada has moved. The link in a mail to her former address reaches both of her profiles.
        klaviyo.identify(external_id="1815", email="ada@old.test")
        klaviyo.change_email("ada@new.test", external_id="1815")
        klaviyo.subscribe("email", external_id="1815")
        simulator.submit_form(email="ada@old.test")
        simulator.drain()

        simulator.fail_next("bulk_unsubscribe_profiles", status=429)
        print(*unsubscribe(klaviyo, "ada@old.test"))
        print(klaviyo.outbox.drain().delivered, "delivered later")  # in a shop: `safeklaviyo worker`
        print(*unsubscribe(klaviyo, "eve@shop.test"))
        simulator.drain()
        reached = [profile for profile in simulator.profiles if profile.consent == "SUBSCRIBED"]
    print(f"{len(simulator.profiles)} profiles, {len(reached)} subscribed")


if __name__ == "__main__":
    main()
