"""The neighbours of a trial as small pictures, under addresses that name neither a file nor an image."""

import io
from functools import lru_cache
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from annotation.api.access import may_see
from annotation.models import Stimulus
from mlcore.exchange import render
from mlcore.models import Image

SIDE, QUALITY = 320, 85


@login_required
@require_safe
def neighbour_picture(request: HttpRequest, uuid: UUID, index: int) -> HttpResponse:
    """The neighbour at this place of the trial's explanation, nearest first, from 0; JPEG, longer side at most 320."""
    shown = Stimulus.objects.filter(trial__uuid=uuid, explanation__isnull=False).select_related("trial", "explanation")
    stimulus = shown.order_by("slot").first()
    if stimulus is None or stimulus.explanation is None or not may_see(request.user, stimulus.trial):
        raise Http404
    listed = stimulus.explanation.data.get("neighbours", [])
    if index >= len(listed):
        raise Http404
    image = get_object_or_404(Image, uuid=listed[index]["image"])
    response = HttpResponse(_small(image.pk, image.sha256), content_type="image/jpeg")
    response["Cache-Control"] = "private, max-age=3600"
    return response


@lru_cache(maxsize=256)
def _small(pk: int, sha256: str) -> bytes:
    picture = render.thumbnail(Image.objects.get(pk=pk, sha256=sha256), SIDE)
    picture.info = {}  # no comment, EXIF or XMP of the file it came from
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
