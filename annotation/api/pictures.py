"""A trial's picture and maps under addresses, sizes and headers that say nothing about how a map was made."""

import io
from functools import lru_cache
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from PIL import ExifTags, ImageOps
from PIL import Image as Pillow

from annotation.api.access import own_assignment
from annotation.api.neutral import bare_jpeg, bare_png, padded
from annotation.models import Assignment
from mlcore.exchange import render
from mlcore.models import Explanation, Image

MAP_SIDE = 640
THUMBNAIL_SIDE = 256


def canvas_size(image: Image) -> tuple[int, int]:
    """Width and height in which a picture and its maps are put together: the longer side is 640."""
    factor = MAP_SIDE / max(image.width, image.height)
    return max(1, round(image.width * factor)), max(1, round(image.height * factor))


@lru_cache(maxsize=32)
def _rendered(explanations: tuple[UUID, ...], size: tuple[int, int]) -> dict[UUID, bytes]:
    rows = Explanation.objects.select_related("set").in_bulk(explanations, field_name="uuid")
    return dict(zip(explanations, padded([render.map_png(rows[key], size=size) for key in explanations]), strict=True))


def trial_map_bytes(assignment: Assignment, position: int) -> bytes:
    """The map at this person's place: 8-bit grey, on its own scale, of one size and length with its neighbours."""
    shown = dict(
        assignment.trial.stimuli.filter(explanation__isnull=False)
        .values_list("slot", "explanation__uuid")
        .order_by("slot")
    )
    try:
        wanted = shown[assignment.order[position]]
    except (IndexError, KeyError):
        raise Http404 from None
    return _rendered(tuple(shown.values()), canvas_size(assignment.trial.image))[wanted]


def picture_bytes(image: Image) -> tuple[bytes, str]:
    """The picture without its metadata: the file itself where a browser can read it, else re-encoded and upright."""
    with image.file.open("rb") as stream:
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
    return _answer(*picture_bytes(own_assignment(request, uuid).trial.image))


@login_required
@require_safe
def trial_map(request: HttpRequest, uuid: UUID, position: int) -> HttpResponse:
    return _answer(trial_map_bytes(own_assignment(request, uuid), position), "image/png")


@login_required
@require_safe
def trial_thumbnail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    out = io.BytesIO()
    small = render.thumbnail(own_assignment(request, uuid).trial.image, THUMBNAIL_SIDE)
    small.convert("RGB").save(out, "JPEG", quality=82)
    return _answer(out.getvalue(), "image/jpeg")
