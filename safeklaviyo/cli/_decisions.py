"""The command that says what the guard's decision log has in all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from safeklaviyo.cli._console import complain, say
from safeklaviyo.guard._log.summary import Summary, summarised

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

_MEANS = {
    "pass": "as it was",
    "rewrite": "identifiers replaced",
    "answer": "carried out and answered",
    "change": "an identifier changed first",
    "contact": "a profile found or made first",
    "lookup": "Klaviyo asked who is meant",
    "wait": "another call awaited first",
    "refuse": "refused",
}


def decisions(arguments: Namespace) -> int:
    """Summarise a decision log; 1 if it has no line that can be read."""
    # A log that is being written may end in half a character. The line does not count; the others do.
    with Path(arguments.log).open(encoding="utf-8", errors="replace") as lines:
        summary = summarised(lines)
    if arguments.json:
        say(json.dumps(summary.as_json()))
    else:
        _print(summary, arguments.sites)
    if not summary.calls:
        complain("the log has no line of a version that this program reads")
        return 1
    return 0


def _print(summary: Summary, most: int) -> None:
    modes = ", ".join(f"{number} in {mode}" for mode, number in sorted(summary.modes.items()))
    say(
        f"{summary.calls} calls ({modes or 'none'}), {summary.first} to {summary.last}; {summary.skipped} lines skipped"
    )
    say("")
    _table(
        ("operation", "rule", "what enforce does", "calls"),
        (
            (name, rule, _MEANS.get(action, action), calls)
            for (name, action, rule), calls in summary.kinds.most_common()
        ),
    )
    if summary.sites:
        say("")
        sites = summary.sites.most_common(most)
        _table(
            ("from", "rule", "what enforce does", "calls"),
            ((site, rule, _MEANS.get(action, action), calls) for (site, action, rule), calls in sites),
        )


def _table(heads: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    texts = [heads, *(tuple(map(str, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        *words, number = row
        parts = [word.ljust(width) for word, width in zip(words, widths, strict=False)]
        say("  ".join((*parts, number.rjust(widths[-1]))))
