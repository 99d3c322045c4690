"""A trial's picture and maps under addresses, sizes and headers that say nothing about how a map was made."""

import io
import logging
import threading
from functools import lru_cache
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.files.base import File
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe
from PIL import ExifTags, ImageOps
from PIL import Image as Pillow

from annotation.api.access import may_see, own_assignment
from annotation.api.neutral import bare_jpeg, bare_png, padded
from annotation.entry import participation
from annotation.models import Stimulus, StudyPicture, Trial
from annotation.people import may_manage
from mlcore.exchange import render
from mlcore.models import Explanation, Image

MAP_SIDE = 640
THUMBNAIL_SIDE = 256
_rendering = threading.Lock()
logger = logging.getLogger(__name__)


def canvas_size(image: Image) -> tuple[int, int]:
    """Width and height in which a picture and its maps are put together: the longer side is 640."""
    factor = MAP_SIDE / max(image.width, image.height)
    return max(1, round(image.width * factor)), max(1, round(image.height * factor))


@lru_cache(maxsize=32)
def _rendered(explanations: tuple[UUID, ...], size: tuple[int, int]) -> dict[UUID, bytes]:
    rows = Explanation.objects.select_related("set").in_bulk(explanations, field_name="uuid")
    return dict(zip(explanations, padded([render.map_png(rows[key], size=size) for key in explanations]), strict=True))


def map_bytes(stimulus: Stimulus) -> bytes:
    """The stimulus' map: 8-bit grey, on its own scale, of one size and length with the other maps of its trial.

    A browser asks for all maps of a trial at once; they are made together, once. Raises Http404 for a map that is
    not there, with a line in the log for whoever keeps the server.
    """
    shown = Stimulus.objects.filter(trial=stimulus.trial_id, explanation__payload=Explanation.Payload.MAP)
    names = tuple(shown.order_by("slot").values_list("explanation__uuid", flat=True))
    assert stimulus.explanation is not None
    with _rendering:
        try:
            return _rendered(names, canvas_size(stimulus.trial.image))[stimulus.explanation.uuid]
        except render.MapUnavailable as error:
            logger.warning("A map of trial %s cannot be shown: %s", stimulus.trial.uuid, error)
            raise Http404 from error


def picture_bytes(image: Image) -> tuple[bytes, str]:
    """The picture without its metadata: the file itself where a browser can read it, else re-encoded and upright.

    Raises Http404 for an image that was imported without its picture.
    """
    if not image.file:
        raise Http404
    return _bare(image.file)


def _bare(file: File) -> tuple[bytes, str]:
    with file.open("rb") as stream:
        data = stream.read()
    with Pillow.open(io.BytesIO(data)) as opened:
        upright = opened.getexif().get(ExifTags.Base.Orientation, 1) == 1
        if upright and opened.format == "JPEG":
            return bare_jpeg(data), "image/jpeg"
        if upright and opened.format == "PNG":
            return bare_png(data), "image/png"
        turned = ImageOps.exif_transpose(opened)
        out = io.BytesIO()
        if opened.format == "JPEG":
            turned.convert("RGB").save(out, "JPEG", quality=95, subsampling=0)
            return out.getvalue(), "image/jpeg"
        turned.convert("RGBA" if "A" in turned.getbands() else "RGB").save(out, "PNG")
        return out.getvalue(), "image/png"


def _answer(data: bytes, content_type: str) -> HttpResponse:
    response = HttpResponse(data, content_type=content_type)
    response["Cache-Control"] = "private, max-age=3600"
    return response


@login_required
@require_safe
def trial_picture(request: HttpRequest, uuid: UUID) -> HttpResponse:
    trial = get_object_or_404(Trial.objects.select_related("image"), uuid=uuid)
    if not may_see(request.user, trial):
        raise Http404
    return _answer(*picture_bytes(trial.image))


@login_required
@require_safe
def stimulus_picture(request: HttpRequest, name: str) -> HttpResponse:
    """A map by its random name; what is explained by neighbours or patches is no picture of its own."""
    maps = Stimulus.objects.filter(explanation__payload=Explanation.Payload.MAP)
    stimulus = get_object_or_404(maps.select_related("trial__image", "explanation"), picture=name)
    if not may_see(request.user, stimulus.trial):
        raise Http404
    return _answer(map_bytes(stimulus), "image/png")


@login_required
@require_safe
def trial_thumbnail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    out = io.BytesIO()
    small = render.thumbnail(own_assignment(request, uuid).trial.image, THUMBNAIL_SIDE)
    small.convert("RGB").save(out, "JPEG", quality=82)
    return _answer(out.getvalue(), "image/jpeg")


@login_required
@require_safe
def study_picture(request: HttpRequest, uuid: UUID, name: str) -> HttpResponse:
    """A picture of the introduction, for the study's participants and for who manages it."""
    picture = get_object_or_404(StudyPicture.objects.select_related("study"), study__uuid=uuid, name=name)
    user, study = request.user, picture.study
    if not (may_manage(user, study) or participation(user, study) or participation(user, study, preview=True)):
        raise Http404
    return _answer(*_bare(picture.file))
