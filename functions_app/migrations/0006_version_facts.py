"""Versions keep the name and facts that the function had while they served."""

from __future__ import annotations

from django.db import migrations

import functions_app.fields


class Migration(migrations.Migration):
    dependencies = [("functions_app", "0005_memories")]

    operations = [
        migrations.AddField(
            model_name="functionversion",
            name="facts",
            field=functions_app.fields.TolerantJSONField(
                editable=False, help_text="Name and meta when another version took over.", null=True
            ),
        ),
    ]
