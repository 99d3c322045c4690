"""Pages of a classifier that compare a picture with a gallery: choose, see neighbours, mark what counts, ask again."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from harmony.pictures import SIDES, answer
from harmony.researcher import owned
from mlcore.admin import look_form, match_form, match_shown
from mlcore.admin.inquiry_pages import again_of, asked_row, picture_given, usual_images
from mlcore.admin.match_pages import as_file
from mlcore.exchange import render
from mlcore.exchange.match_layout import USUAL_WIDTH
from mlcore.models import Classifier, Image, Inquiry
from mlcore.runs.health import workers_alive
from mlcore.runs.inquiries import OPEN, QUEUE, ask_match, picture_of, unmarked
from mlcore.runs.match_boards import board_of_inquiry
from mlcore.runs.questions import QuestionRefused

KIND = Inquiry.Kind.MATCH
WINDOW_SIDE = 480


class ComparePages:
    """Pages of the classifier's admin."""

    render: Any
    seen: Any

    def compare_routes(self) -> tuple[tuple[str, Any, str], ...]:
        return (
            ("<int:pk>/compare/", self.compare_page, "compare"),
            ("<int:pk>/compare/<int:inquiry>/", self.compared_page, "compared"),
            ("inquiry/<int:inquiry>/window/<int:side>/", self.inquiry_window, "inquiry_window"),
            ("inquiry/<int:inquiry>/neighbour/<int:way>/<int:index>/<int:side>/", self.inquiry_neighbour,
             "inquiry_neighbour"),
            ("inquiry/<int:inquiry>/matches.<str:kind>", self.inquiry_matches, "inquiry_matches"),
        )  # fmt: skip

    def compare_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Choose a picture, a gallery and a way of comparing; with POST, the question."""
        classifier = self.seen(request, pk)
        if request.method != "POST":
            return self._compare(
                request, classifier, None, match_form.build(classifier, request.user, request.GET.dict())
            )
        data = request.POST
        again = None
        try:
            again = again_of(request, classifier, KIND)
            asked = ask_match(
                classifier, request.user, picture_given(request, again),
                gallery=match_form.given_gallery(classifier, request.user, data),
                matcher=str(data.get("matcher", "")), options=match_form.given_options(data.dict()),
                marked=match_form.given_cells(data),
            )  # fmt: skip
        except QuestionRefused as refused:
            form = match_form.build(classifier, request.user, data.dict(), refused.errors)
            return self._compare(request, classifier, again, form, status=422)
        return HttpResponseRedirect(reverse("admin:mlcore_classifier_compared", args=[pk, asked.pk]))

    def compared_page(self, request: HttpRequest, pk: int, inquiry: int) -> HttpResponse:
        """A question with its answer, or that it waits; and the form to ask the next one about the same picture."""
        classifier = self.seen(request, pk)
        asked = asked_row(request, inquiry, classifier=classifier, kind=KIND)
        asked.classifier = classifier
        form = match_form.build(classifier, request.user, match_form.from_inquiry(asked))
        return self._compare(request, classifier, asked, form)

    @method_decorator(require_safe)
    def inquiry_window(self, request: HttpRequest, inquiry: int, side: int) -> HttpResponse:
        """The part of the picture that the classifier saw, as JPEG: what is marked is marked on it."""
        if side not in SIDES:
            raise Http404("There is no such picture.")
        asked = _answered(request, inquiry)
        shown = picture_of(asked)
        image = Image(file=shown.file, width=shown.width, height=shown.height, name=shown.name)
        left, top, right, bottom = asked.answer["window"]

        def draw() -> Any:
            part = render.whole(image).crop((left, top, right, bottom))
            part.thumbnail((side, side))
            return part

        return answer(request, f"{shown.sha256}-{side}-{left}-{top}-{right}-{bottom}", draw)

    @method_decorator(require_safe)
    def inquiry_neighbour(self, request: HttpRequest, inquiry: int, way: int, index: int, side: int) -> HttpResponse:
        """A neighbour of an answer, as JPEG."""
        if side not in SIDES:
            raise Http404("There is no such picture.")
        try:
            item = _answered(request, inquiry).answer["ways"][way]["neighbours"][index]
        except IndexError:
            raise Http404("This answer has fewer neighbours.") from None
        image = get_object_or_404(owned(Image.objects.all(), request.user, "image_set__owner"), uuid=item["image"])
        return answer(request, f"{image.sha256}-{side}", lambda: render.thumbnail(image, side))

    @method_decorator(require_safe)
    def inquiry_matches(self, request: HttpRequest, inquiry: int, kind: str) -> HttpResponse:
        """The answer as a picture to print."""
        asked = _answered(request, inquiry)
        name = f"{asked.question['name'].rsplit('.', 1)[0]}_{asked.question['matcher']}"
        try:
            return as_file(request, board_of_inquiry(asked, _image_of(request, asked)), kind, name)
        except FileNotFoundError as error:
            raise Http404("The picture is not kept any more. Ask again.") from error

    def _compare(
        self, request: HttpRequest, classifier: Classifier, asked: Inquiry | None, form: match_form.MatchForm,
        status: int = 200,
    ) -> HttpResponse:  # fmt: skip
        waits = asked is not None and asked.state in OPEN
        answers = _answers(request, asked) if asked else []
        found = asked.answer if asked and asked.state == Inquiry.State.ANSWERED else None
        usual = usual_images(request.user, classifier)
        return self.render(
            request, "admin/harmony/classifier_match.html", obj=classifier, title="Compare a picture", form=form,
            asked=asked, waits=waits, answers=answers, found=found,
            cells=match_form.grid(found["grid"], found["marked"]) if found and form.takes_marks else None,
            shown=_picture(asked) if asked else None,
            nobody=(waits or asked is None) and not workers_alive(QUEUE), usual=usual,
            picker=None if asked else look_form.picker(request.user, usual, request.GET),
            picked=request.POST.get("image", ""), widths=match_shown.WIDTHS, usual_width=USUAL_WIDTH, status=status,
        )  # fmt: skip


def _answers(request: HttpRequest, asked: Inquiry) -> list[dict[str, Any]]:
    """What is shown side by side: before and after what is marked, or the one answer; each with its page's address."""
    if asked.state != Inquiry.State.ANSWERED:
        return []
    before = unmarked(asked)
    image = _image_of(request, asked)
    told = [one for one in (before, asked) if one is not None]
    titles = ("Without marks", "With your marks") if before else ("With your marks",)
    shown = [
        match_shown.shown(
            board_of_inquiry(one, image),
            reverse("admin:mlcore_classifier_inquiry_picture", args=[one.pk, match_shown.SIDE]),
            lambda way, index, one=one: reverse(  # type: ignore[misc]
                "admin:mlcore_classifier_inquiry_neighbour", args=[one.pk, way, index, match_shown.SMALL_SIDE]
            ),
        )
        for one in told
    ]
    marked = bool(asked.question["marked"])
    return [
        {"board": board, "way": board["ways"][-1], "title": title if marked else "", "inquiry": one}
        for board, title, one in zip(shown, titles, told, strict=True)
    ]


def _image_of(request: HttpRequest, asked: Inquiry) -> Image | None:
    """The image of a set that was asked about, whose labels say what it shows; none of an upload."""
    if asked.picture:
        return None
    images = owned(Image.objects.select_related("image_set"), request.user, "image_set__owner")
    return images.filter(file=asked.question["file"]).first()


def _picture(asked: Inquiry) -> dict[str, Any]:
    told = asked.question
    factor = match_shown.SIDE / max(told["width"], told["height"])
    return {
        "name": told["name"], "pixels": f"{told['width']}×{told['height']}",
        "width": round(told["width"] * factor), "height": round(told["height"] * factor), "side": match_shown.SIDE,
    }  # fmt: skip


def _answered(request: HttpRequest, pk: int) -> Inquiry:
    return asked_row(request, pk, kind=KIND, state=Inquiry.State.ANSWERED)
