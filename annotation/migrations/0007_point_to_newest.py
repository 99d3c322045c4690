from django.db import migrations


def point_to_newest(apps, schema_editor):
    """Every study knows the version under which people answer."""
    Study, StudyVersion = apps.get_model("annotation", "Study"), apps.get_model("annotation", "StudyVersion")
    for study in Study.objects.all():
        study.current = StudyVersion.objects.filter(study=study).order_by("-number").first()
        study.save(update_fields=["current"])


class Migration(migrations.Migration):

    dependencies = [("annotation", "0006_current_version")]

    operations = [migrations.RunPython(point_to_newest, migrations.RunPython.noop, elidable=True)]
