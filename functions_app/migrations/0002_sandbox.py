from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("functions_app", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="function",
            name="epoch",
            field=models.CharField(blank=True, default="", editable=False, max_length=32),
        ),
    ]
