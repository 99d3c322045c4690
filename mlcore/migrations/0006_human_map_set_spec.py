from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mlcore", "0005_one_set_a_method")]
    operations = [
        migrations.AddField(
            model_name="humanmapset",
            name="spec",
            field=models.JSONField(default=dict, help_text="Which studies and kinds of people the maps come from."),
        )
    ]
