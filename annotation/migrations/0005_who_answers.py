import annotation.models.studies
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("annotation", "0004_carry_over")]

    operations = [
        migrations.AlterField(
            model_name='study',
            name='join_key',
            field=models.CharField(default=annotation.models.studies.picture_name, editable=False, max_length=40, unique=True),
        ),
        migrations.AddConstraint(
            model_name='study',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('answers_per_trial__isnull', False), ('mode', 'k')), models.Q(('answers_per_trial__isnull', True), ('mode__in', ['everyone', 'lists'])), _connector='OR'), name='study_mode_says_who_answers'),
        ),
    ]
