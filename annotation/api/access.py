"""Whose trial it is. Everything below /trials/ goes through here: another person's trial does not exist."""

from uuid import UUID

from django.http import Http404, HttpRequest

from annotation.models import Assignment


def own_assignment(request: HttpRequest, uuid: UUID) -> Assignment:
    """The assignment with its trial, image, study and person, in one query. Raises Http404 unless it is one's own."""
    found = (
        Assignment.objects.filter(uuid=uuid, participant__user_id=request.user.pk or 0)
        .select_related("trial__image", "participant__study")
        .first()
    )
    if found is None:
        raise Http404
    return found
