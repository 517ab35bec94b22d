"""The commands about one customer of the identity map, and how a command opens the map.

Decided here: with an account given, these commands need no key, because they send nothing to Klaviyo.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from safeklaviyo import Klaviyo
from safeklaviyo._files.rows import COLUMNS
from safeklaviyo.cli._console import complain, say
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores import default_url

if TYPE_CHECKING:
    from argparse import Namespace

    from safeklaviyo.stores.base import IdentityStore


def explain(arguments: Namespace) -> int:
    """Print the decision about a person."""
    with open_client(arguments) as klaviyo:
        decision = klaviyo.explain(
            external_id=arguments.external_id, email=arguments.email, phone_number=arguments.phone
        )
        _check_account(klaviyo, arguments)
    say(f"action       {decision.action}")
    say(f"rule         {decision.rule}")
    say(f"reason       {decision.reason}")
    say(f"external_id  {decision.identity.external_id or '-'}")
    say(f"email        {decision.identity.email or '-'}")
    say(f"rewritten    {'yes' if decision.rewritten else 'no'}")
    return 0


def get(arguments: Namespace) -> int:
    """Print one binding as JSON."""
    with open_client(arguments) as klaviyo:
        binding = klaviyo.bindings.get(external_id=arguments.external_id, email=arguments.email)
        _check_account(klaviyo, arguments)
    if binding is None:
        return _not_there()
    say(json.dumps({name: getattr(binding, name) for name in (*COLUMNS, "verified_at", "version")}))
    return 0


def remove(arguments: Namespace) -> int:
    """Remove one binding."""
    with open_client(arguments) as klaviyo:
        removed = klaviyo.bindings.remove(external_id=arguments.external_id, email=arguments.email)
        if not removed:
            _check_account(klaviyo, arguments)
    if not removed:
        return _not_there()
    say("removed")
    return 0


def open_client(arguments: Namespace, store: IdentityStore | None = None) -> Klaviyo:
    """Return a client for operations of the map.

    Args:
        arguments: Those of the command line.
        store: In place of the one that the arguments name.

    Raises:
        ConfigurationError: There is neither an account nor a key to ask Klaviyo with, or an argument makes no sense.
    """
    if arguments.account is None and not os.environ.get("KLAVIYO_API_KEY"):
        raise ConfigurationError("which account? pass --account (the six-character public key), or set KLAVIYO_API_KEY")
    return Klaviyo(store=store or lasting(store_url(arguments)), account=arguments.account, base_url=arguments.base_url)


def lasting(url: str) -> str:
    """Return the URL of a map that a command can use.

    Raises:
        ConfigurationError: The map would be empty, and gone when the command ends.
    """
    if url.startswith("memory:"):
        raise ConfigurationError("a map in memory ends with this command; name a store that stays")
    return url


def store_url(arguments: Namespace) -> str:
    """Return the URL of the identity map."""
    return arguments.store or os.environ.get("SAFEKLAVIYO_STORE") or default_url()


def _check_account(klaviyo: Klaviyo, arguments: Namespace) -> None:
    """Say that the map has nobody of the account given: it is perhaps another one that was meant."""
    if arguments.account is not None and next(iter(klaviyo.bindings), None) is None:
        complain(f"the map has no customers of the account {arguments.account}: is that the account?")


def _not_there() -> int:
    complain("the map has no such customer")
    return 1
