"""What a classification by comparison came to, on its run's page, and the same as CSV, as LaTeX and as JSON."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.text import slugify

from mlcore.exchange.match_marks import readable
from mlcore.models import Explanation, Image, Prediction, Run
from mlcore.runs.correspond_report import HEAD, Change, Outcome, class_name, outcome_of
from mlcore.runs.correspond_tables import csv_text, document, latex_text

SHOWN_IMAGES = 12
FILES: dict[str, tuple[str, Callable[[Outcome], str]]] = {
    "csv": ("text/csv; charset=utf-8", csv_text),
    "tex": ("application/x-tex; charset=utf-8", latex_text),
    "json": ("application/json", lambda outcome: json.dumps(document(outcome), ensure_ascii=False, indent=1)),
}


class CorrespondPages:
    """Pages of the run's admin."""

    seen: Any

    def correspond_file(self, request: HttpRequest, pk: int, kind: str) -> HttpResponse:
        run = self.seen(request, pk)
        outcome = outcome_of(run)
        if outcome is None or kind not in FILES:
            raise Http404("This run has no such figures to download.")
        content_type, text = FILES[kind]
        response = HttpResponse(text(outcome), content_type=content_type)
        name = slugify(run.name) or f"comparison-{run.pk}"
        response["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
        response["Cache-Control"] = "private, no-store"
        return response


@dataclass
class Shown:
    """An image whose answer changed: its picture, what was said before and after, and the page that shows why."""

    image: Image
    before: str
    after: str
    href: str


@dataclass
class ChangeShown:
    """A change with some of its images."""

    change: Change
    mended: list[Shown]
    broken: list[Shown]


def context(run: Run, request: HttpRequest) -> dict[str, Any]:
    """What the page of a comparison shows; nothing for other runs."""
    outcome = outcome_of(run, way=request.GET.get("way", "")) if run.state == Run.State.SUCCEEDED else None
    if outcome is None:
        return {"outcome": None}
    return {"outcome": outcome, "changes": _changes(outcome)}


def _changes(outcome: Outcome) -> list[ChangeShown]:
    """In four queries, however many there are."""
    named = {
        uuid
        for change in outcome.changes
        for uuid in (*change.mended_images[:SHOWN_IMAGES], *change.broken_images[:SHOWN_IMAGES])
    }
    images = {str(image.uuid): image for image in Image.objects.filter(uuid__in=named).select_related("image_set")}
    sets = {way.name: way.explained for way in outcome.ways if way.explained is not None}
    of_set = {made.pk: name for name, made in sets.items()}
    rows = Explanation.objects.filter(set__in=of_set, image__in=[image.pk for image in images.values()])
    said = {
        (of_set[made], image): class_name(outcome.classes, target)
        for made, image, target in rows.values_list("set", "image", "target")
    }
    classifier = outcome.run.classifier
    if classifier is not None:
        predicted = Prediction.objects.filter(classifier=classifier, image__in=[image.pk for image in images.values()])
        said |= {
            (HEAD, image): class_name(classifier.classes, label)
            for image, label in predicted.values_list("image", "label")
        }

    def shown(uuid: str, change: Change) -> Shown | None:
        image = images.get(uuid)
        if image is None:  # deleted since
            return None
        made = sets.get(change.after) or sets.get(change.before)
        href = reverse("admin:mlcore_explanationset_match_of", args=[made.pk, image.uuid]) if made else ""
        before, after = (readable(said.get((name, image.pk), "–")) for name in (change.before, change.after))
        return Shown(image, before, after, href)

    return [
        ChangeShown(
            change,
            [one for uuid in change.mended_images[:SHOWN_IMAGES] if (one := shown(uuid, change))],
            [one for uuid in change.broken_images[:SHOWN_IMAGES] if (one := shown(uuid, change))],
        )
        for change in outcome.changes
    ]
