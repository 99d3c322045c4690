"""Pages of a classifier that ask it something short: its layers, and what it looks at in a picture.

A page writes the question and shows it again until a worker has answered: by itself where its script runs, by reloading
where it does not. Questions and their pictures are seen by the person who asked, and by nobody else.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from harmony.pictures import SIDES, answer
from harmony.researcher import owned
from mlcore.admin import compare, look_form
from mlcore.catalogue import METHODS
from mlcore.exchange import layers, render, windows
from mlcore.exchange.shards import MapUnavailable
from mlcore.models import Classifier, Image, ImageSet, Inquiry
from mlcore.runs.health import workers_alive
from mlcore.runs.inquiries import OPEN, QUEUE, ask_layers, ask_mask, map_of, picture_of
from mlcore.runs.questions import QuestionRefused

SIDE = 640
MOST_DIGITS = 12
SHALLOW = 2  # names of so many parts are stages and blocks
FILES = {"npy": "application/octet-stream", "png": "image/png"}


class InquiryPages:
    """Pages of the classifier's admin."""

    render: Any
    seen: Any

    def inquiry_routes(self) -> tuple[tuple[str, Any, str], ...]:
        return (
            ("<int:pk>/layers/", self.layers_page, "layers"),
            ("<int:pk>/look/", self.look_page, "look"),
            ("<int:pk>/look/<int:inquiry>/", self.looked_page, "looked"),
            ("inquiry/<int:inquiry>/state/", self.inquiry_state, "inquiry_state"),
            ("inquiry/<int:inquiry>/picture/<int:side>/", self.inquiry_picture, "inquiry_picture"),
            ("inquiry/<int:inquiry>/layer/<str:style>/<str:colours>/<int:side>/", self.inquiry_layer, "inquiry_layer"),
            ("inquiry/<int:inquiry>/file/<str:what>/", self.inquiry_file, "inquiry_file"),
        )

    def layers_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The layers, where they were listed before; with POST they are asked for."""
        classifier = self.seen(request, pk)
        refused = ""
        if request.method == "POST":
            try:
                ask_layers(classifier, request.user)
            except QuestionRefused as error:
                refused = str(error)
            else:
                return HttpResponseRedirect(reverse("admin:mlcore_classifier_layers", args=[pk]))
        asked = (
            _own(request).filter(classifier=classifier, kind=Inquiry.Kind.LAYERS).order_by("-created", "-pk").first()
        )
        if asked and asked.state == Inquiry.State.ANSWERED and not classifier.layers:
            classifier.refresh_from_db(fields=["layers"])  # the answer may have come between the two readings
        rows = [row | {"parts": str(row["name"]).count(".") + 1} for row in classifier.layers or []]
        return self.render(
            request, "admin/harmony/classifier_layers.html", obj=classifier, title="Layers",
            asked=asked if asked and not rows else None, waits=not rows and asked is not None and asked.state in OPEN,
            refused=refused, nobody=not rows and not workers_alive(QUEUE),
            shallow=[row for row in rows if row["parts"] <= SHALLOW],
            deep=[row for row in rows if row["parts"] > SHALLOW],
            tame=",".join(row["name"] for row in rows if "tame" in row["suggested"]),
            image_size=int((classifier.transform or {}).get("image_size") or 224), status=422 if refused else 200,
        )  # fmt: skip

    def look_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Choose a picture, a class and a method; with POST, the question."""
        classifier = self.seen(request, pk)
        if request.method != "POST":
            return self._look(request, classifier, None, look_form.build(classifier, request.GET.dict()))
        data = request.POST.dict()
        again = None
        try:
            again = again_of(request, classifier, Inquiry.Kind.MASK)
            asked = ask_mask(
                classifier, request.user, picture_given(request, again),
                method=str(data.get("method", "")), options=look_form.given_options(data),
                # A button of the list of what the classifier says stands above what is typed.
                label=str(data.get("said") or data.get("label", "")),
            )  # fmt: skip
        except QuestionRefused as refused:
            form = look_form.build(classifier, data, refused.errors)
            return self._look(request, classifier, again, form, status=422)
        address = reverse("admin:mlcore_classifier_looked", args=[pk, asked.pk])
        # The next map is drawn as the one before.
        drawn = f"?{urlencode(_view(request.POST))}" if again is not None else ""
        return HttpResponseRedirect(address + drawn)

    def looked_page(self, request: HttpRequest, pk: int, inquiry: int) -> HttpResponse:
        """A question with its answer, or that it waits; and the form to ask the next one about the same picture."""
        classifier = self.seen(request, pk)
        asked = asked_row(request, inquiry, classifier=classifier, kind=Inquiry.Kind.MASK)
        asked.classifier = classifier
        return self._look(request, classifier, asked, look_form.build(classifier, look_form.from_inquiry(asked)))

    @method_decorator(require_safe)
    def inquiry_state(self, request: HttpRequest, inquiry: int) -> HttpResponse:
        """How far a question is, for the page that waits."""
        asked = asked_row(request, inquiry)
        response = JsonResponse({"state": asked.state, "open": asked.state in OPEN})
        response["Cache-Control"] = "private, no-store"
        return response

    @method_decorator(require_safe)
    def inquiry_picture(self, request: HttpRequest, inquiry: int, side: int) -> HttpResponse:
        """The picture that was asked about, as JPEG."""
        _offered(side, SIDES)
        shown = picture_of(asked_row(request, inquiry, kind__in=(Inquiry.Kind.MASK, Inquiry.Kind.MATCH)))
        image = Image(file=shown.file, width=shown.width, height=shown.height, name=shown.name)
        return answer(request, f"{shown.sha256}-{side}-whole", lambda: _there(lambda: render.enlarged(image, side)))

    @method_decorator(require_safe)
    def inquiry_layer(self, request: HttpRequest, inquiry: int, style: str, colours: str, side: int) -> HttpResponse:
        """The map alone, to lie over its picture."""
        _offered(side, SIDES)
        _offered(style, layers.STYLES)
        _offered(colours, layers.COLOURS)
        asked = _answered(request, inquiry)
        tag = f"{asked.uuid}-{style}-{colours}-{side}"
        return answer(
            request, tag, lambda: _there(lambda: windows.layer(map_of(asked), style, colours, side)), layer=True
        )

    @method_decorator(require_safe)
    def inquiry_file(self, request: HttpRequest, inquiry: int, what: str) -> HttpResponse:
        """The map to work on: its numbers, or in colours at the picture's own size."""
        _offered(what, tuple(FILES))
        asked = _answered(request, inquiry)
        placed = _there(lambda: map_of(asked))
        made = (
            windows.npy(placed.values)
            if what == "npy"
            else layers.as_png(windows.layer(placed, "map", "cividis", None))
        )
        response = HttpResponse(made, content_type=FILES[what])
        response["Content-Disposition"] = f'attachment; filename="map-{str(asked.uuid)[:8]}.{what}"'
        response["Cache-Control"] = "private, no-store"
        return response

    def _look(
        self, request: HttpRequest, classifier: Classifier, asked: Inquiry | None, form: look_form.LookForm,
        status: int = 200,
    ) -> HttpResponse:  # fmt: skip
        waits = asked is not None and asked.state in OPEN
        usual = usual_images(request.user, classifier)
        return self.render(
            request, "admin/harmony/classifier_look.html", obj=classifier, title="Look at a picture", form=form,
            asked=asked, shown=_shown(asked) if asked else None, waits=waits,
            nobody=(waits or asked is None) and not workers_alive(QUEUE),
            picker=None if asked else look_form.picker(request.user, usual, request.GET),
            picked=request.POST.get("image", ""), map_styles=compare.STYLES, colour_choices=compare.COLOURS,
            view=_view(request.POST if request.method == "POST" else request.GET), status=status,
        )  # fmt: skip


def usual_images(user: Any, classifier: Classifier) -> Any:
    """The images it was last trained on, to offer them first; None where this person may not see them."""
    run = classifier.run or classifier.runs.select_related("image_set").first()
    return owned(ImageSet.objects.all(), user).filter(pk=run.image_set_id).first() if run else None


def _own(request: HttpRequest) -> Any:
    # An administrator sees every row of the domain, but not what others upload to look at.
    return Inquiry.objects.filter(owner=request.user)


def asked_row(request: HttpRequest, pk: int, **where: Any) -> Inquiry:
    """The question of this person with its classifier; for anybody else it does not exist."""
    return get_object_or_404(_own(request).select_related("classifier").filter(**where), pk=pk)


def _answered(request: HttpRequest, pk: int) -> Inquiry:
    return asked_row(request, pk, kind=Inquiry.Kind.MASK, state=Inquiry.State.ANSWERED)


def again_of(request: HttpRequest, classifier: Classifier, kind: str) -> Inquiry | None:
    """The earlier question whose picture is asked about again."""
    given = request.POST.get("again", "")
    if not is_number(given):
        return None
    asked = asked_row(request, int(given), classifier=classifier, kind=kind)
    asked.classifier = classifier
    return asked


def picture_given(request: HttpRequest, again: Inquiry | None) -> Any:
    """An upload before an image of a set before the picture that was there. Raises QuestionRefused."""
    upload = request.FILES.get("picture")
    if upload is not None:
        return upload
    wanted = request.POST.get("image", "")
    if is_number(wanted):
        images = owned(Image.objects.all(), request.user, "image_set__owner")
        found = images.filter(pk=int(wanted)).first()
        if found is None:
            raise QuestionRefused({"picture": "There is no such image, or it belongs to someone else."})
        return found
    if again is None:
        raise QuestionRefused({"picture": "Choose a picture: a file of yours, or one of an image set."})
    return again


def is_number(text: str) -> bool:
    """Whether a text is a number that a row or a share can have; int() itself refuses thousands of digits."""
    return text.isdecimal() and len(text) <= MOST_DIGITS


def _view(query: QueryDict) -> dict[str, Any]:
    """How the map is drawn, as the address says."""
    style, colours, opacity = (query.get(name, "") for name in ("style", "colours", "opacity"))
    return {
        "style": style if style in compare.STYLES else next(iter(compare.STYLES)),
        "colours": colours if colours in compare.COLOURS else next(iter(compare.COLOURS)),
        "opacity": min(100, int(opacity)) if is_number(opacity) else compare.USUAL_OPACITY,
    }


def _shown(asked: Inquiry) -> dict[str, Any]:
    """The picture of a question and, once it is answered, what the classifier says."""
    told, found = asked.question, asked.answer
    width, height = told["width"], told["height"]
    factor = SIDE / max(width, height)
    shown = {
        "name": told["name"], "width": round(width * factor), "height": round(height * factor), "side": SIDE,
        "pixels": f"{width}×{height}",
    }  # fmt: skip
    if asked.state != Inquiry.State.ANSWERED:
        return shown
    names = asked.classifier.classes
    spec = METHODS.get(told["method"].partition(":")[0])
    try:
        reach = map_of(asked).reach
    except MapUnavailable as error:
        shown["missing"] = str(error)
        reach = None
    left, top, right, bottom = found["window"]
    return shown | {
        "predictions": [row | {"name": names[row["label"]]} for row in found["predictions"]],
        "label": found["label"], "explained": names[found["label"]], "confidence": found["confidence"],
        "reach": reach, "signed": layers.has_sign(told["method"].partition(":")[0], told["options"]),
        "title": spec.title if spec else told["method"], "class_specific": spec is None or spec.class_specific,
        "status": found["status"], "seconds": found["seconds"], "device": found["device"],
        "cells": f"{found['height']}×{found['width']}",
        "part": "" if [left, top, right, bottom] == [0, 0, *found["picture"]] else f"{right - left}×{bottom - top}",
    }  # fmt: skip


def _there(make: Any) -> Any:
    try:
        return make()
    except (MapUnavailable, FileNotFoundError) as error:
        raise Http404("It is not kept any more. Ask again.") from error


def _offered(value: Any, known: tuple[Any, ...]) -> None:
    if value not in known:
        raise Http404(f"There is no such picture. Known: {', '.join(map(str, known))}.")
