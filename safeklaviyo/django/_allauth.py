"""A change of address in django-allauth becomes a row of the outbox, in the transaction of the request.

Only where ``settings.SAFEKLAVIYO["allauth_user_id"]`` names the attribute of a user that is the customer's id. The
row is in the same transaction as allauth's own change where there is one: with ``ATOMIC_REQUESTS``, or in an
``atomic()`` of the shop's.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.apps import apps

from safeklaviyo.django._settings import configuration
from safeklaviyo.errors import ConfigurationError, IdentityError

if TYPE_CHECKING:
    from django.dispatch import Signal

    from safeklaviyo._client.klaviyo import Klaviyo

logger = logging.getLogger("safeklaviyo.django")


def connect() -> None:
    """Connect the receiver, if the settings ask for it and allauth is there."""
    try:
        is_wanted = configuration().user_id is not None
    except ConfigurationError:
        return  # which the system check says
    if is_wanted and apps.is_installed("allauth.account"):
        # By name, because allauth is the shop's own and has no types.
        email_changed: Signal = import_module("allauth.account.signals").email_changed
        email_changed.connect(queue_change, dispatch_uid="safeklaviyo")


def queue_change(*, user: Any, from_email_address: Any, to_email_address: Any, **_: Any) -> None:
    """Write the row. An address that no customer can have is logged, and does not keep the user from changing it."""
    from safeklaviyo.django._clients import get_klaviyo  # noqa: PLC0415 - once the database can be used

    name = configuration().user_id
    assert name is not None
    klaviyo: Klaviyo = get_klaviyo()
    try:
        klaviyo.outbox.change_email(
            to_email_address.email,
            external_id=getattr(user, name),
            old_email=None if from_email_address is None else from_email_address.email,
        )
    except IdentityError as error:
        logger.error("a change of address was not put into the outbox: %s", error)  # noqa: TRY400 - P8: no traceback
