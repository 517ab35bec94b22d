"""The report page: one HTML file that a person can read, mail and print.

The page holds no script and asks for nothing: its charts are drawn here, as SVG, each beside the table of its numbers.
Mail programs and strict browsers do not run scripts in an attachment, and a page without any cannot be made to run what
an attacker has put into a customer's name. Its content security policy allows the page's own style and nothing else.

`contents` decides what the page says, and `charts` where the marks of its charts stand. The templates only lay it out.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from safeklaviyo.audit._page.contents import contents_of
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

_SHOWN: Final = (50, 20, 5)
"""How many findings of one rule the page shows: the first of these numbers with which it can be mailed."""
_AT_MOST: Final = 1_500_000
"""Bytes of a page at most: mail servers take so many, and a phone can open them."""


def render(audit: Mapping[str, object], *, reveal: bool) -> str:
    """Return the whole page.

    Args:
        audit: The audit, as `Audit.to_dict` returns it.
        reveal: Show identifiers and names in full; otherwise they are masked.

    Raises:
        ConfigurationError: Jinja2 is not installed.
    """
    environment = _environment()
    style = files("safeklaviyo.audit._page").joinpath("report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = environment.get_template("report.html")
    page = ""
    # Fields may be long, and in alphabets of many bytes: fewer rows are shown until the page can be mailed.
    for shown in _SHOWN:
        page = template.render(style=style, digest=digest, **contents_of(audit, reveal=reveal, shown=shown))
        if len(page.encode()) <= _AT_MOST:
            break
    return page


def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as exc:
        raise ConfigurationError("the report page needs Jinja2: pip install 'safeklaviyo[report]'") from exc
    loader = PackageLoader("safeklaviyo.audit", "_page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.lstrip_blocks = True
    environment.filters["number"] = _grouped
    return environment


def _grouped(number: int) -> str:
    # Readers of every language understand a narrow space between thousands; a comma or a dot means two things.
    return f"{number:,}".replace(",", "\u202f")
