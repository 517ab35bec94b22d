"""The commands about one customer of the identity map, and how a command opens the map.

Decided here: with an account given, these commands need no key, because they send nothing to Klaviyo.
"""

from __future__ import annotations

import json
import os
from itertools import product
from typing import TYPE_CHECKING

from safeklaviyo import Klaviyo, Policy
from safeklaviyo._accounts import ID
from safeklaviyo._files.rows import COLUMNS
from safeklaviyo.cli._console import complain, say
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores import default_url, open_store

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
    return Klaviyo(
        store=store or lasting(store_url(arguments)),
        account=arguments.account,
        base_url=arguments.base_url,
        policy=policy_of(arguments),
        outbox=getattr(arguments, "outbox", None),
    )


def policy_of(arguments: Namespace) -> Policy:
    """Return the policy of a command.

    Raises:
        ConfigurationError: There is no such country, or the package that knows phone numbers is missing.
    """
    return Policy(phone_region=getattr(arguments, "phone_region", None))


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
    """Say that the map has no customers of the given account: perhaps the user meant another one."""
    if arguments.account is not None and next(iter(klaviyo.bindings), None) is None:
        complain(f"the map has no customers of the account {arguments.account}: is that the account?")


def check_spelling(arguments: Namespace) -> None:
    """Warn where the map has customers of an account that differs from the one given in upper and lower case only."""
    account = arguments.account
    # Another name of the shop's own may have more letters, of which there are too many spellings to try.
    if account is None or not ID.fullmatch(account):
        return
    # At most 64 spellings of six letters, each with one look at the map.
    with open_store(store_url(arguments)) as store:
        for letters in product(*[sorted({letter.lower(), letter.upper()}) for letter in account]):
            other = "".join(letters)
            if other != account and store.page(other, limit=1).bindings:
                complain(f"WARNING: the map has customers of the account {other}: is that what --account should be?")


def _not_there() -> int:
    complain("the map has no such customer")
    return 1
