"""Pictures of the researchers' pages: thumbnails, overlays and layers, drawn when asked for, cached by the browser
alone; and maps as files to work on."""

import re
from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from PIL import Image as Pictures

from harmony.pictures import SIDES, STYLES, answer
from mlcore.exchange import layers, render
from mlcore.exchange.neighbours_picture import with_neighbours
from mlcore.models import Explanation, Image

# What a map can be taken away as: the ending, the content's type.
FILES = {"npy": "application/octet-stream", "png": "image/png", "png16": "image/png"}


def thumbnail(request: HttpRequest, image: Image, side: int) -> HttpResponse:
    """The image as JPEG, its longer side `side` px. Raises Http404 for a side that is not offered."""
    _offered(side, SIDES)
    return answer(request, f"{image.sha256}-{side}", lambda: render.thumbnail(image, side))


def overlay(request: HttpRequest, explanation: Explanation, style: str, side: int) -> HttpResponse:
    """The image under its map, in one of the three styles."""
    _offered(side, SIDES)
    _offered(style, STYLES)
    tag = f"{explanation.uuid}-{style}-{side}-2"
    return answer(request, tag, _there(lambda: layers.over_its_image(explanation, style, side)))


def layer(request: HttpRequest, explanation: Explanation, style: str, colours: str, side: int) -> HttpResponse:
    """The map alone, to lie over its image; `?max=` is the value that is drawn strongest."""
    _offered(side, SIDES)
    _offered(style, layers.STYLES)
    _offered(colours, layers.COLOURS)
    size = layers.longer_side(explanation, side)
    text = request.GET.get("max", "")
    try:
        scale = float(text) if text else None
    except ValueError as error:
        raise Http404("“max” is a number.") from error

    def draw() -> Pictures.Image:
        try:
            return layers.layer(explanation, style, colours, size, scale)
        except ValueError as error:
            raise Http404(str(error)) from error

    tag = f"{explanation.uuid}-{style}-{colours}-{side}-{scale or 'own'}"
    return answer(request, tag, _there(draw), layer=True)


def neighbours(request: HttpRequest, explanation: Explanation, side: int) -> HttpResponse:
    """The image with its nearest neighbours below it."""
    _offered(side, SIDES)
    return answer(request, f"{explanation.uuid}-neighbours-{side}", lambda: with_neighbours(explanation, side))


def download(request: HttpRequest, explanation: Explanation, what: str) -> HttpResponse:
    """The map as a file: its numbers as .npy, in colours as PNG of the image's size, or as 16-bit grey."""
    _offered(what, tuple(FILES))
    colours = request.GET.get("colours", layers.COLOURS[0])
    _offered(colours, layers.COLOURS)
    make: dict[str, Callable[[], bytes]] = {
        "npy": lambda: layers.raw_npy(explanation),
        "png": lambda: layers.rendered_png(explanation, colours),
        "png16": lambda: layers.grey_png(explanation),
    }
    response = HttpResponse(_there(make[what])(), content_type=FILES[what])
    response["Content-Disposition"] = f'attachment; filename="{_file_name(explanation, what)}"'
    response["Cache-Control"] = "private, no-store"
    return response


def _file_name(explanation: Explanation, what: str) -> str:
    """Image, method and classifier in plain letters, so that files of several maps lie side by side in a folder."""
    words = (explanation.image.name.rsplit(".", 1)[0], explanation.set.method, explanation.set.classifier.name)
    stem = "_".join(re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-")[:60] for word in words)
    return f"{stem}{'_raw.png' if what == 'png16' else f'.{what}'}"


def _there(make: Callable[[], Any]) -> Callable[[], Any]:
    """The same, where a map that is missing is a page that does not exist."""

    def made() -> Any:
        try:
            return make()
        except render.MapUnavailable as error:
            raise Http404(str(error)) from error

    return made


def _offered(value: Any, known: tuple[Any, ...] | dict[str, Any]) -> None:
    if value not in known:
        raise Http404(f"There is no such picture. Known: {', '.join(map(str, known))}.")
