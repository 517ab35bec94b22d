"""The app. What it does when Django starts: it registers its checks, and the one receiver that the settings ask for."""

from __future__ import annotations

from django.apps import AppConfig


class SafeKlaviyoConfig(AppConfig):
    """The app `safeklaviyo.django`. It has tables and no models: rows are written through the client alone."""

    name = "safeklaviyo.django"
    label = "safeklaviyo"
    verbose_name = "safeklaviyo"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """See `AppConfig.ready`."""
        from django.core.checks import Tags, register  # noqa: PLC0415 - once Django has loaded its apps
        from django.core.signals import setting_changed  # noqa: PLC0415 - as above
        from django.db.models.signals import post_migrate  # noqa: PLC0415 - as above

        from safeklaviyo.django import _allauth, _checks, _clients, _test_databases  # noqa: PLC0415 - as above

        register(Tags.compatibility)(_checks.check_settings)
        register(Tags.database)(_checks.check_tables)
        setting_changed.connect(_clients.forget, dispatch_uid="safeklaviyo")
        post_migrate.connect(_test_databases.after_migrate, sender=self, dispatch_uid="safeklaviyo")
        _allauth.connect()
