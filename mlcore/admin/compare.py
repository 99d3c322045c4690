"""One image under the maps of several methods and classifiers, side by side; the choice stands in the address."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.core.files.storage import default_storage
from django.db.models import Exists, Max, Min, OuterRef
from django.db.models.fields.json import KeyTransform
from django.http import HttpRequest, HttpResponse, QueryDict

from harmony.researcher import owned
from mlcore.admin import score_table, tiles
from mlcore.exchange import layers
from mlcore.exchange.render import MapUnavailable
from mlcore.models import Explanation, ExplanationSet, Image, Prediction, Score
from mlcore.runs.metric_columns import MetricColumn

SIDE = 480
USUAL_SETS, MOST_SETS, OFFERED_SETS = 6, 12, 100
USUAL_METRICS, MOST_METRICS = 4, 8
STYLES = {"overlay": "Overlay", "spotlight": "Spotlight", "contour": "Contour lines", "map": "Map alone"}
COLOURS = {"cividis": "cividis", "magma": "magma", "rdbu": "RdBu"}
SCALES = {"own": "each by its own maximum", "common": "one scale a method"}
USUAL_OPACITY = 60


@dataclass
class Choice:
    """What is looked at, read from the address; whatever it does not know falls back to the usual."""

    style: str
    colours: str
    scale: str
    opacity: int
    sets: list[ExplanationSet]
    metrics: list[str]

    def query(self, **more: Any) -> str:
        """The same choice as part of an address."""
        pairs: list[tuple[str, Any]] = [("set", one.pk) for one in self.sets]
        pairs += [("metric", name) for name in self.metrics] or [("metric", "")]
        pairs += [("style", self.style), ("colours", self.colours), ("scale", self.scale), ("opacity", self.opacity)]
        return urlencode([*pairs, *more.items()])


@dataclass
class Shown:
    """A map in its tile. `reach`: the value that is drawn strongest, where it is known without reading the map."""

    explained: ExplanationSet
    tile: dict[str, Any] | None = None
    values: list[tuple[MetricColumn, float | None]] = field(default_factory=list)
    signed: bool = False
    reach: float | None = None
    missing: str = ""


class ComparePages:
    """Pages of the image set's admin."""

    render: Any
    seen: Any

    def maps_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Maps of one image side by side."""
        image_set = self.seen(request, pk)
        offered = _offered(image_set, request.user)
        metrics = _metrics(offered)
        choice = read(request.GET, offered, metrics)
        image, before, after, place = _image(image_set, choice.sets, request.GET.get("image", ""))
        label = tiles.labels([image.pk]).get(image.pk) if image else None
        width, height = (image.width, image.height) if image else (1, 1)
        return self.render(
            request, "admin/harmony/compare.html", obj=image_set, title="Maps side by side",
            choice=choice, image=image, side=SIDE, place=place,
            before=choice.query(image=before) if before else "", after=choice.query(image=after) if after else "",
            shown=_shown(choice, image, label) if image else [],
            true=tiles.class_name(image_set.classes, label),
            offered=[(one, one in choice.sets) for one in offered],
            metrics=[(MetricColumn.of(name), name in choice.metrics) for name in metrics],
            map_styles=STYLES, colours=COLOURS, scales=SCALES, most_sets=MOST_SETS, most_metrics=MOST_METRICS,
            width=SIDE, height=max(1, round(SIDE * height / width)),
        )  # fmt: skip


def read(query: QueryDict, offered: Sequence[ExplanationSet], metrics: Sequence[str]) -> Choice:
    """The choice that stands in an address.

    set: any number of them. with, classifier: without a choice of sets, the usual ones have this set among them, or
    are those of this classifier. metric: an empty one alone means none.
    """
    by_pk = {str(one.pk): one for one in offered}
    sets = [by_pk[pk] for pk in dict.fromkeys(query.getlist("set")) if pk in by_pk][:MOST_SETS]
    if not sets:
        first = [by_pk[pk] for pk in query.getlist("with") if pk in by_pk]
        fitting = [one for one in offered if str(one.classifier_id) == query.get("classifier")] or list(offered)
        sets = list(dict.fromkeys([*first, *fitting]))[:USUAL_SETS]
    chosen = [name for name in metrics if name in query.getlist("metric")][:MOST_METRICS]
    if "metric" not in query:
        chosen = list(metrics[:USUAL_METRICS])
    opacity = query.get("opacity", "")
    return Choice(
        style=_known(query.get("style"), STYLES),
        colours=_known(query.get("colours"), COLOURS),
        scale=_known(query.get("scale"), SCALES),
        opacity=min(100, int(opacity)) if opacity.isdecimal() else USUAL_OPACITY,
        sets=[one for one in offered if one in sets],
        metrics=chosen,
    )


def _known(value: str | None, known: dict[str, str]) -> str:
    return value if value in known else next(iter(known))


def _offered(image_set: Any, user: Any) -> list[ExplanationSet]:
    """Sets that hold maps, by classifier and method; those that are newest, where there are too many."""
    maps = Explanation.objects.filter(set=OuterRef("pk"), payload=Explanation.Payload.MAP)
    sets = owned(ExplanationSet.objects.filter(Exists(maps), image_set=image_set), user)
    newest = list(sets.select_related("classifier")[:OFFERED_SETS])
    return sorted(newest, key=_in_order)


def _in_order(one: ExplanationSet) -> tuple[str, bool, str, int]:
    return (one.classifier.name, score_table.is_baseline(one.method), one.method, one.pk)


def _metrics(offered: Sequence[ExplanationSet]) -> list[str]:
    names = Score.objects.filter(explanation_set__in=[one.pk for one in offered]).order_by()
    return score_table.in_catalogue_order(names.values_list("metric", flat=True).distinct())


def _image(
    image_set: Any, sets: Sequence[ExplanationSet], wanted: str
) -> tuple[Image | None, int | None, int | None, int]:
    """The image, the keys of the ones before and after it that have a map too, and its place among all images."""
    maps = Explanation.objects.filter(set__in=[one.pk for one in sets]).order_by()
    image = Image.objects.filter(image_set=image_set, pk=int(wanted)).first() if wanted.isdecimal() else None
    if image is None:
        first = maps.aggregate(first=Min("image"))["first"]
        image = Image.objects.filter(pk=first).first() if first else None
    if image is None:
        return None, None, None, 0
    before = maps.filter(image__lt=image.pk).aggregate(near=Max("image"))["near"]
    after = maps.filter(image__gt=image.pk).aggregate(near=Min("image"))["near"]
    place = Image.objects.filter(image_set=image_set, pk__lte=image.pk).count()
    return image, before, after, place


def _shown(choice: Choice, image: Image, label: int | None) -> list[Shown]:
    chosen = [one.pk for one in choice.sets]
    maps = {row.set_id: row for row in Explanation.objects.filter(set__in=chosen, image=image)}
    said = {
        row.classifier_id: row
        for row in Prediction.objects.filter(image=image, classifier__in={one.classifier_id for one in choice.sets})
    }
    values = _values(chosen, choice.metrics, image)
    columns = [MetricColumn.of(name) for name in choice.metrics]
    found = []
    for one in choice.sets:
        shown = Shown(one)
        row = maps.get(one.pk)
        if row is not None:
            row.image, row.set = image, one
            shown.tile = tiles.tile(one, row, said.get(one.classifier_id), label)
            shown.values = [(column, values.get((one.pk, column.name))) for column in columns]
            _measure(shown, row, choice.scale == "common")
        found.append(shown)
    return _common(found) if choice.scale == "common" else found


def _measure(shown: Shown, row: Explanation, common: bool) -> None:
    """Is there a sign, how far does it reach, is its file there; the numbers are read for a common scale alone."""
    shown.signed = layers.is_signed(row)
    if not common:
        shown.reach = None if shown.signed else max(row.maximum or 0.0, 0.0)
        if not default_storage.exists(row.shard):
            shown.missing = f"The maps' file {os.path.basename(row.shard)} is missing."
        return
    try:
        shown.reach = layers.extent(row, layers.finite_map(row))
    except MapUnavailable as error:
        shown.missing = str(error)


def _common(found: list[Shown]) -> list[Shown]:
    """Values of one method can be compared across classifiers; those of two methods are in different units."""
    largest: dict[str, float] = {}
    for shown in found:
        method = shown.explained.method
        largest[method] = max(largest.get(method, 0.0), shown.reach or 0.0)
    for shown in found:
        shown.reach = largest[shown.explained.method] or None
    return found


def _values(sets: Sequence[int], metrics: Sequence[str], image: Image) -> dict[tuple[int, str], float]:
    """(set, metric) → the value of this image in the newest score that has one; picked out by the database."""
    if not metrics:
        return {}
    rows = (
        Score.objects.filter(explanation_set__in=sets, metric__in=metrics)
        .annotate(value_here=KeyTransform(str(image.uuid), "per_image"))
        .order_by("created", "pk")
        .values_list("explanation_set", "metric", "value_here")
    )
    return {(one, metric): value for one, metric, value in rows if isinstance(value, (int, float))}
