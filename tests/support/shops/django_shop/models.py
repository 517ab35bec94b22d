"""What the shop keeps."""

from django.db import models


class Order(models.Model):  # noqa: DJ008 - never shown
    """An order."""

    total = models.DecimalField(max_digits=8, decimal_places=2)

    class Meta:
        app_label = "django_shop"
