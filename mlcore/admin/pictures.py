"""Pictures of the researchers' pages: thumbnails and overlays, drawn when asked for, cached by the browser alone."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from PIL import Image as Pictures

from harmony.pictures import SIDES, STYLES, answer
from mlcore.exchange import render
from mlcore.models import Explanation, Image


def thumbnail(request: HttpRequest, image: Image, side: int) -> HttpResponse:
    """The image as JPEG, its longer side `side` px. Raises Http404 for a side that is not offered."""
    _offered(side, SIDES)
    return answer(request, f"{image.sha256}-{side}", lambda: render.thumbnail(image, side))


def overlay(request: HttpRequest, explanation: Explanation, style: str, side: int) -> HttpResponse:
    """The image under its map, in one of the three styles."""
    _offered(side, SIDES)
    _offered(style, STYLES)

    def draw() -> Pictures.Image:
        try:
            return render.overlay(explanation, style=style, side=side)
        except render.MapUnavailable as error:
            raise Http404(str(error)) from error

    return answer(request, f"{explanation.uuid}-{style}-{side}", draw)


def _offered(value: Any, known: tuple[Any, ...]) -> None:
    if value not in known:
        raise Http404(f"There is no such picture. Known: {', '.join(map(str, known))}.")
