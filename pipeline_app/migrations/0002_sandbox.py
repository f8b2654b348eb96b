import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pipeline_app", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Destination",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("function", models.CharField(max_length=200)),
                ("host", models.CharField(help_text="The name that was looked up, else the address.", max_length=255)),
                ("port", models.PositiveIntegerField()),
                ("verdict", models.CharField(choices=[("reached", "Reached"), ("refused", "Refused")], max_length=7)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("count", models.PositiveBigIntegerField(default=0)),
                ("last_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["-last_at"],
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Trip",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("function", models.CharField(max_length=200)),
                ("version", models.PositiveIntegerField()),
                ("opened_at", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
                ("until", models.DateTimeField(help_text="When calls are let through again by themselves.")),
                ("reason", models.TextField(help_text="How its workers ended.")),
                ("log", models.TextField(blank=True, help_text="The end of what the worker wrote.")),
                ("process", models.CharField(help_text="Host and process id of the server process.", max_length=100)),
            ],
            options={
                "ordering": ["-opened_at"],
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Usage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("function", models.CharField(max_length=200)),
                ("hook", models.CharField(max_length=20)),
                ("start", models.DateTimeField(db_index=True)),
                (
                    "process",
                    models.CharField(help_text="Random, made anew when a server process starts.", max_length=16),
                ),
                ("calls", models.PositiveBigIntegerField()),
                ("errors", models.PositiveBigIntegerField()),
                ("wall_ms", models.FloatField()),
                ("cpu_ms", models.FloatField(help_text="Of the calls of which it is known.")),
                ("cpu_calls", models.PositiveBigIntegerField()),
                ("memory_mb", models.FloatField(help_text="The most that a worker had.", null=True)),
                ("durations", models.JSONField(default=dict)),
            ],
            options={
                "verbose_name_plural": "usage",
                "default_permissions": (),
            },
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_outcome_is_known",
        ),
        migrations.AlterField(
            model_name="run",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("succeeded", "Succeeded"),
                    ("failed", "Failed"),
                    ("cancelled", "client left"),
                    ("stopped", "Stopped"),
                ],
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(("outcome__in", ["succeeded", "failed", "cancelled", "stopped"])),
                name="run_outcome_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="destination",
            constraint=models.UniqueConstraint(
                fields=("function", "host", "port", "verdict"), name="one_destination_row_per_verdict"
            ),
        ),
        migrations.AddConstraint(
            model_name="destination",
            constraint=models.CheckConstraint(
                condition=models.Q(("verdict__in", ["reached", "refused"])), name="destination_verdict_is_known"
            ),
        ),
        migrations.AddIndex(
            model_name="trip",
            index=models.Index(fields=["function", "-opened_at"], name="trip_by_function"),
        ),
        migrations.AddConstraint(
            model_name="usage",
            constraint=models.UniqueConstraint(
                fields=("function", "hook", "start", "process"), name="one_usage_row_per_time"
            ),
        ),
    ]
