import secrets

from django.db import migrations


def carry_over(apps, schema_editor):
    """Studies and people from before say what they meant all along."""
    Study, Trial = apps.get_model("annotation", "Study"), apps.get_model("annotation", "Trial")
    for study in Study.objects.all():
        study.mode = "everyone" if study.answers_per_trial is None else "k"
        study.join_key = secrets.token_hex(16)
        study.main_trials = Trial.objects.filter(study=study, phase="main").count()
        study.save(update_fields=["mode", "join_key", "main_trials"])
    Person = apps.get_model("annotation", "Participant")
    for study in Study.objects.all():
        for number, person in enumerate(Person.objects.filter(study=study).order_by("pk")):
            Person.objects.filter(pk=person.pk).update(number=number)
    Assignment = apps.get_model("annotation", "Assignment")
    for person in Person.objects.all():
        mine = Assignment.objects.filter(participant=person).order_by("pk").values_list("pk", flat=True)
        for place, pk in enumerate(mine, 1):
            Assignment.objects.filter(pk=pk).update(place=place)


class Migration(migrations.Migration):

    dependencies = [("annotation", "0003_studies_that_hold")]

    operations = [migrations.RunPython(carry_over, migrations.RunPython.noop, elidable=True)]
