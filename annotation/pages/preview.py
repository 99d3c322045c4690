"""Looking at a study as an annotator does, for who manages it: the same pages, and nothing of it counts."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from annotation.entry import end_preview, start_preview
from annotation.errors import EntryRefused
from annotation.models import Study
from annotation.pages.common import PREVIEW, tell
from annotation.people import may_manage


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def preview(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """GET begins a fresh look, POST ends it and forgets what was answered."""
    study = get_object_or_404(Study, uuid=uuid)
    if not may_manage(request.user, study):
        raise Http404
    to_study = {"text": _("To the study"), "url": _researchers_page(request, study)}
    if request.method == "POST":
        end_preview(request.user, study)
        request.session.pop(PREVIEW, None)
        return redirect(to_study["url"])
    try:
        start_preview(request.user, study)
    except EntryRefused as refusal:
        return tell(request, _("There is nothing to look at"), refusal.sentence, acts=[to_study])
    request.session[PREVIEW] = str(study.uuid)
    return redirect("study", study.uuid)


def _researchers_page(request: HttpRequest, study: Study) -> str:
    return reverse("admin:annotation_study_change", args=[study.pk]) if request.user.is_staff else reverse("home")
