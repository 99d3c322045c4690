"""Pictures of the researchers' pages as answers: drawn when asked for, kept by that person's browser alone."""

import io
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from PIL import Image as Pictures

SIDES = (96, 160, 240, 320, 480, 640)
STYLES = ("overlay", "spotlight", "contour")
A_DAY = 86_400


def answer(request: HttpRequest, tag: str, draw: Callable[[], Any], *, layer: bool = False) -> HttpResponse:
    """The JPEG (a layer: the PNG) that `draw` makes, or 304 where the browser has the one of this tag.

    Nobody but that person's browser may keep it.
    """
    etag = f'"{tag}"'
    if request.headers.get("If-None-Match") == etag:
        response: HttpResponse = HttpResponseNotModified()
    elif layer:
        response = HttpResponse(_png(draw()), content_type="image/png")
    else:
        response = HttpResponse(_jpeg(draw()), content_type="image/jpeg")
    response["Cache-Control"] = f"private, max-age={A_DAY}"
    response["ETag"] = etag
    response["Vary"] = "Cookie"
    return response


def _jpeg(picture: Pictures.Image) -> bytes:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=88)
    return stream.getvalue()


def _png(picture: Pictures.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=6)
    return stream.getvalue()
