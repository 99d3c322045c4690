"""A run's one set of maps becomes the first of several.

By itself: PostgreSQL alters no table that has rows just written to it."""

from django.db import migrations


def carry(apps, schema_editor):
    run = apps.get_model("mlcore", "Run")
    link = run.explanation_sets.through
    rows = run.objects.exclude(explanation_set=None).values_list("pk", "explanation_set")
    link.objects.bulk_create(
        [link(run_id=run_pk, explanationset_id=set_pk) for run_pk, set_pk in rows.iterator()], batch_size=500
    )


def carry_back(apps, schema_editor):
    run = apps.get_model("mlcore", "Run")
    for row in run.explanation_sets.through.objects.filter(run__kind="explain").order_by("-pk").iterator():
        run.objects.filter(pk=row.run_id).update(explanation_set=row.explanationset_id)


class Migration(migrations.Migration):
    dependencies = [("mlcore", "0003_scores_of_maps")]
    operations = [migrations.RunPython(carry, carry_back)]
