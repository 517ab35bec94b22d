"""The command that fills the identity map from Klaviyo's own profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo.cli._console import complain, progress, say
from safeklaviyo.cli._map import open_client
from safeklaviyo.errors import SafeKlaviyoError

if TYPE_CHECKING:
    from argparse import Namespace

    from safeklaviyo import Progress


def learn(arguments: Namespace) -> int:
    """Learn all profiles, and print what became of them."""
    done = 0

    def _on_progress(reached: Progress) -> None:
        nonlocal done
        done = reached.done
        show(done)

    with open_client(arguments) as klaviyo, progress("learning", None) as show:
        try:
            report = klaviyo.bindings.learn(on_progress=_on_progress)
        except (KeyboardInterrupt, SafeKlaviyoError):
            complain(f"stopped after {done} profiles; run it again to go on there")
            raise
    # Each reason names the profile by Klaviyo's id, by which it is found there.
    for _, reason in sorted((*report.refused, *report.warnings)):
        complain(reason)
    say(
        f"added {report.added}, unchanged {report.unchanged}, refused {len(report.refused)}, "
        f"passed over {len(report.warnings)}, id only {report.id_only}, without email {report.without_email}"
    )
    return 1 if report.refused else 0
