"""What can be the id of an account of Klaviyo's, and what can be the name of an account's part of a map."""

from __future__ import annotations

import re
from typing import Final

ID: Final = re.compile(r"[A-Za-z0-9]{6}")
"""A public key, by which Klaviyo names an account."""

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What ``account=`` may be: a public key, or a name of the shop's own."""

NO_NAME: Final = "has to be made of 1 to 64 letters, digits, - and _"
"""Said of what is no such name, after the argument's own name."""
