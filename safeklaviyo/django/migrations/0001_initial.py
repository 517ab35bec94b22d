"""Make the tables of the outbox and of the identity map. Backwards, all that is in them is lost."""

from django.db import migrations

from safeklaviyo.django._migrating import drop, make


class Migration(migrations.Migration):
    """See `_migrating`."""

    initial = True
    dependencies = ()
    operations = (migrations.RunPython(make, drop),)
