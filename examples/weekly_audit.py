"""A job for each Monday: what is new among the duplicates of the account, mailed with the page attached.

It runs against the simulator. For Klaviyo, make the client with `Klaviyo(deadline=None)`.
"""

from __future__ import annotations

import os
import smtplib
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING

from safeklaviyo.audit import audit
from safeklaviyo.testing import KlaviyoSimulator

if TYPE_CHECKING:
    from safeklaviyo import Klaviyo

LAST = Path("audit-last-week.json")


def weekly(klaviyo: Klaviyo) -> int:
    """Audit the account, mail what last week's audit did not have, and return how much that is."""
    with audit(klaviyo, baseline=LAST if LAST.exists() else None) as found:
        found.report("audit.html")
        found.write_json(LAST)
        if found.new:
            mail = EmailMessage()
            mail["Subject"] = f"{len(found.new)} new duplicate findings"
            mail.set_content(found.to_text())
            mail.add_attachment(Path("audit.html").read_bytes(), maintype="text", subtype="html", filename="audit.html")
            send(mail)
        return len(found.new)


def send(mail: EmailMessage) -> None:
    """Send a mail by the shop's own server, or say here what would be sent."""
    host = os.environ.get("SMTP_HOST")
    if host is None:
        print(f"(no SMTP_HOST) {mail['Subject']}")
        return
    mail["To"] = mail["From"] = os.environ["SMTP_USER"]
    with smtplib.SMTP(host) as smtp:
        smtp.send_message(mail)


def main() -> None:
    """Play three weeks."""
    simulator = KlaviyoSimulator()
    with simulator.client(deadline=None) as klaviyo:
        simulator.add_profile(external_id="1815", email="ada@shop.test")
        simulator.add_profile(external_id="1816")  # a call by the id alone has made this one
        first, second = weekly(klaviyo), weekly(klaviyo)
        simulator.add_profile(external_id="1817")
        print(f"new in each week: {first}, {second}, {weekly(klaviyo)}")


if __name__ == "__main__":
    main()
