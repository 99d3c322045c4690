"""Sets of maps: the list, a page with the overlays, and the pictures themselves."""

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Count, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import NoReverseMatch, reverse
from unfold.decorators import display

from harmony.researcher import DomainAdmin, owned
from mlcore.admin import pictures, score_table, tiles
from mlcore.admin.match_pages import MatchPages
from mlcore.admin.score_pages import ExtremePages
from mlcore.models import Explanation, ExplanationSet, ImageLabel, Prediction, Score
from mlcore.runs.correspond_names import same_classes
from mlcore.runs.correspond_sets import classes_said
from mlcore.runs.metric_columns import MetricColumn

PER_PAGE = 48


@admin.register(ExplanationSet)
class ExplanationSetAdmin(ExtremePages, MatchPages, DomainAdmin):
    list_display = ("classifier", "method", "image_set", "map_count", "target", "owner", "created")
    list_select_related = ("classifier", "image_set", "owner")
    list_filter = ("method", "target")
    search_fields = ("classifier__name", "method")
    head_links = (("Explain a classifier", "admin:mlcore_explanationset_start", "visibility"),)
    head_text = "Maps of what a classifier looked at. Open a set to publish a study from it."
    empty_text = "No maps yet. Explain a classifier to see what it looks at."

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows = Explanation.objects.filter(set=OuterRef("pk")).order_by().values("set")
        counted = Coalesce(Subquery(rows.annotate(n=Count("pk")).values("n")), 0)
        return super().get_queryset(request).annotate(n_maps=counted)

    @display(description="maps", ordering="n_maps")
    def map_count(self, obj: Any) -> int:
        return obj.n_maps

    def routes(self):
        return (
            ("explain/", self.start_redirect, "start"),
            ("<int:pk>/extremes/", self.extremes_page, "extremes"),
            ("map/<int:pk>/<str:style>/<int:side>/", self.overlay, "overlay"),
            ("map/<int:pk>/layer/<str:style>/<str:colours>/<int:side>/", self.layer, "layer"),
            ("map/<int:pk>/file/<str:what>/", self.download, "file"),
            *self.match_routes(),
        )

    def start_redirect(self, request: HttpRequest) -> HttpResponse:
        return redirect(f"{reverse('admin:mlcore_run_start')}?kind=explain")

    def page(self, request: HttpRequest, obj: Any) -> HttpResponse:
        style = request.GET.get("style", "overlay")
        style = style if style in pictures.STYLES else "overlay"
        maps = Explanation.objects.filter(set=obj).select_related("image").order_by("id")
        wrong_only = request.GET.get("show") == "wrong"
        if wrong_only:
            maps = _wrong(obj, maps)
        shown = Paginator(maps, PER_PAGE).get_page(request.GET.get("page"))
        kinds = set(Explanation.objects.filter(set=obj).order_by().values_list("payload", flat=True).distinct())
        status = dict(Explanation.objects.filter(set=obj).values_list("status").annotate(n=Count("id")).order_by())
        return self.render(
            request,
            "admin/harmony/explanation_set.html",
            obj=obj,
            maps=shown,
            tiles=tiles.of(obj, list(shown.object_list)),
            style=style,
            map_styles=pictures.STYLES,
            wrong_only=wrong_only,
            left_out={name: n for name, n in status.items() if name != Explanation.Status.OK},
            publish_url=_publish_url(obj),
            scores=_newest_scores(obj),
            holds_maps=Explanation.Payload.MAP in kinds or not kinds,
        )

    @staticmethod
    def _map(request: HttpRequest, pk: int) -> Explanation:
        """A map, if this person may see its set."""
        maps = Explanation.objects.select_related("image__image_set", "set__classifier", "set__image_set")
        return get_object_or_404(owned(maps, request.user, "set__owner"), pk=pk)

    def layer(self, request: HttpRequest, pk: int, style: str, colours: str, side: int) -> HttpResponse:
        return pictures.layer(request, self._map(request, pk), style, colours, side)

    def download(self, request: HttpRequest, pk: int, what: str) -> HttpResponse:
        return pictures.download(request, self._map(request, pk), what)

    def overlay(self, request: HttpRequest, pk: int, style: str, side: int) -> HttpResponse:
        found = self._map(request, pk)
        if found.payload != Explanation.Payload.MAP:
            return pictures.neighbours(request, found, side)
        return pictures.overlay(request, found, style, side)


def _newest_scores(obj: ExplanationSet) -> list[dict[str, Any]]:
    """The newest score of each metric and part, as lines of a list."""
    rows = Score.objects.filter(explanation_set=obj).defer("per_image").order_by("created", "pk")
    newest = {(score.metric, score.part): score for score in rows}
    names = score_table.in_catalogue_order([metric for metric, _ in newest])
    return [
        {"column": MetricColumn.of(name), "score": score}
        for name in names
        for (metric, _), score in sorted(newest.items())
        if metric == name
    ]


def _publish_url(obj: ExplanationSet) -> str:
    """The other half's page, by its address alone: this half knows nothing of studies."""
    try:
        return f"{reverse('admin:annotation_study_create')}?explanations={obj.pk}"
    except NoReverseMatch:
        return ""


def _wrong(obj: ExplanationSet, maps: QuerySet) -> QuerySet:
    """Maps of images that the classifier takes for something else than the label says."""
    true = ImageLabel.objects.filter(image=OuterRef("image")).order_by("id")
    if obj.target == ExplanationSet.Target.PREDICTED:
        said: Any = F("target")  # the class that is explained is the one that is predicted
    else:
        said = Subquery(
            Prediction.objects.filter(classifier=obj.classifier_id, image=OuterRef("image")).values("label")[:1]
        )
    maps = maps.annotate(said=said, true=Subquery(true.values("index")[:1])).exclude(said=None).exclude(true=None)
    places = same_classes(obj.image_set.classes, classes_said(obj)) if (obj.options or {}).get("gallery") else None
    if places is None or places == list(range(len(places))):
        return maps.exclude(said=F("true"))
    # Two lists of classes: a label and an answer are the same where their names are.
    rows = maps.values_list("pk", "said", "true")
    wrong = [pk for pk, told, label in rows if label >= len(places) or places[label] != told]
    return maps.filter(pk__in=wrong)
