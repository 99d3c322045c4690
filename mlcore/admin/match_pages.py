"""Pages of neighbours and matched patches: one picture with what it was compared with, and the same as a file."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from harmony.pictures import SIDES, answer
from mlcore.admin import match_shown
from mlcore.exchange import render
from mlcore.exchange.match_board import Board, listed
from mlcore.exchange.match_layout import USUAL_WIDTH
from mlcore.exchange.match_picture import FORMATS, drawn
from mlcore.models import Explanation, Image
from mlcore.runs.match_boards import board_of

MOST_COLUMNS = 10


class MatchPages:
    """Pages of the explanation set's admin."""

    render: Any
    seen: Any
    _map: Any

    def match_routes(self) -> tuple[tuple[str, Any, str], ...]:
        return (
            ("map/<int:pk>/matches/", self.match_page, "match"),
            ("map/<int:pk>/neighbour/<int:index>/<int:side>/", self.match_neighbour, "match_neighbour"),
            ("map/<int:pk>/matches.<str:kind>", self.match_file, "match_file"),
            ("<int:pk>/matches/<uuid:image>/", self.match_of, "match_of"),
        )

    def match_of(self, request: HttpRequest, pk: int, image: UUID) -> HttpResponse:
        """The page of one image, by the set and the image's UUID, as results name them."""
        found = get_object_or_404(Explanation, set=self.seen(request, pk), image__uuid=image)
        return HttpResponseRedirect(reverse("admin:mlcore_explanationset_match", args=[found.pk]))

    def match_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        explanation, board = self._compared(request, pk)
        made = explanation.set
        others = Explanation.objects.filter(set=made).exclude(payload=Explanation.Payload.MAP)
        address = reverse("admin:mlcore_imageset_thumbnail", args=[explanation.image_id, match_shown.SIDE])
        return self.render(
            request, "admin/harmony/match.html", obj=made, title=explanation.image.name, explanation=explanation,
            board=match_shown.shown(board, address, _neighbour_at), widths=match_shown.WIDTHS,
            usual_width=USUAL_WIDTH, before=others.filter(pk__lt=pk).order_by("-pk").first(),
            after=others.filter(pk__gt=pk).order_by("pk").first(),
        )  # fmt: skip

    @method_decorator(require_safe)
    def match_neighbour(self, request: HttpRequest, pk: int, index: int, side: int) -> HttpResponse:
        """The neighbour at this place, nearest first from 0, as JPEG; who sees the explanation sees them."""
        if side not in SIDES:
            raise Http404(f"There is no such picture. Known: {', '.join(map(str, SIDES))}.")
        items = listed(self._map(request, pk))
        if index >= len(items):
            raise Http404("This explanation has fewer neighbours.")
        image = get_object_or_404(Image, uuid=items[index]["image"])
        return answer(request, f"{image.sha256}-{side}", lambda: render.thumbnail(image, side))

    @method_decorator(require_safe)
    def match_file(self, request: HttpRequest, pk: int, kind: str) -> HttpResponse:
        """The picture to print; `?width=` in pixels, `?neighbours=` at most so many."""
        explanation, board = self._compared(request, pk)
        return as_file(request, board, kind, f"{explanation.image.name.rsplit('.', 1)[0]}_{explanation.set.method}")

    def _compared(self, request: HttpRequest, pk: int) -> tuple[Explanation, Board]:
        explanation = self._map(request, pk)
        try:
            return explanation, board_of(explanation)
        except ValueError as error:
            raise Http404(str(error)) from error


def as_file(request: HttpRequest, board: Board, kind: str, name: str) -> HttpResponse:
    """The board as an attachment. Raises Http404 for what is not offered."""
    width, neighbours = request.GET.get("width", ""), request.GET.get("neighbours", "")
    try:
        content = drawn(
            board, kind,
            int(width[:6]) if width else USUAL_WIDTH,
            max(1, min(MOST_COLUMNS, int(neighbours[:6]) if neighbours else 5)),
        )  # fmt: skip
    except ValueError as error:
        raise Http404(str(error)) from error
    response = HttpResponse(content, content_type=FORMATS[kind])
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:100] or "comparison"
    response["Content-Disposition"] = f'attachment; filename="{plain}.{kind}"'
    response["Cache-Control"] = "private, no-store"
    return response


def _neighbour_at(key: int, index: int) -> str:
    return reverse("admin:mlcore_explanationset_match_neighbour", args=[key, index, match_shown.SMALL_SIDE])
