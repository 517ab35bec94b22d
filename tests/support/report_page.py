"""The parts of `safeklaviyo.audit` that tests look into."""

from safeklaviyo.audit._page import render as page_of

__all__ = ["page_of"]
