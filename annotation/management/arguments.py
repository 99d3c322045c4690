"""What commands have in common: rows by what a person types."""

from uuid import UUID

from django.core.management.base import CommandError

from annotation.models import Study


def find_study(wanted: str) -> Study:
    """The study with this UUID or name. Raises CommandError with a sentence."""
    try:
        found = list(Study.objects.filter(uuid=UUID(wanted)))
    except ValueError:
        found = list(Study.objects.filter(name=wanted).order_by("pk"))
    if not found:
        known = ", ".join(f"“{name}”" for name in Study.objects.values_list("name", flat=True)[:10])
        raise CommandError(f"There is no study “{wanted}”. Studies here: {known or 'none'}.")
    if len(found) > 1:
        listed = ", ".join(str(study.uuid) for study in found)
        raise CommandError(f"{len(found)} studies are called “{wanted}”. Name one by its UUID: {listed}.")
    return found[0]
