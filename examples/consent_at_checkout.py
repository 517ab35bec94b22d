"""Consent at checkout, with the text that was shown. With Klaviyo itself: set KLAVIYO_API_KEY, write ``Klaviyo()``."""

from datetime import UTC, datetime

from safeklaviyo import Channel, ConsentWithdrawnError, Klaviyo
from safeklaviyo.testing import KlaviyoSimulator

NEWS = "Xy12Ab"
CONSENT_TEXT = "checkout/2026-11/en"  # the shop's own archive keeps the wording under this version


def place_order(klaviyo: Klaviyo, customer_id: str, email: str, phone: str | None, ticked: list[Channel]) -> str:
    """Return what the page after the order says."""
    try:
        change = klaviyo.subscribe(
            ticked,
            external_id=customer_id,
            email=email,
            phone_number=phone,
            list_id=NEWS,
            consented_at=datetime.now(UTC),  # evidence that the consent is newer than a withdrawal; it is not sent
            source=CONSENT_TEXT,
        )
    except ConsentWithdrawnError as error:
        # By a spam report or a STOP: only what the customer says to a plain question lifts that.
        return f"You have withdrawn {error.channel}: shall we write to you again?"
    return "Please confirm our mail." if change.status == "confirmation_expected" else "Thank you."


def order_updates_by_sms(klaviyo: Klaviyo, customer_id: str, phone: str) -> None:
    """Allow messages about orders, which need no marketing consent."""
    klaviyo.subscribe("sms_transactional", external_id=customer_id, phone_number=phone)


def main() -> None:
    simulator = KlaviyoSimulator()
    simulator.add_list("News", opt_in_process="double_opt_in")
    with simulator.client() as klaviyo:
        print(place_order(klaviyo, "1815", "ada@shop.test", None, ["email"]))
        order_updates_by_sms(klaviyo, "1815", "+12025550123")
        simulator.drain()
        simulator.confirm_opt_in("ada@shop.test")

        # A spam report is no withdrawal that a ticked box lifts.
        simulator.withdraw(email="ada@shop.test", reason="SPAM_COMPLAINT")
        print(place_order(klaviyo, "1815", "ada@shop.test", None, ["email"]))
        shown = klaviyo.consent(external_id="1815").channels
    print(f"email: {shown['email'].can_receive}, messages about orders: {shown['sms_transactional'].can_receive}")


if __name__ == "__main__":
    main()
