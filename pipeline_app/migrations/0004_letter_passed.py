from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pipeline_app", "0003_api"),
    ]

    operations = [
        migrations.AddField(
            model_name="letter",
            name="passed",
            field=models.PositiveIntegerField(
                db_default=0, help_text="How many processes have looked at it and have no such run."
            ),
        ),
    ]
