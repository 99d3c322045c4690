from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("mlcore", "0004_carry_explanation_sets")]
    operations = [migrations.RemoveField(model_name="run", name="explanation_set")]
