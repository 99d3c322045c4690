"""Sets of maps: the list, a page with the overlays, and the pictures themselves."""

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Count, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import NoReverseMatch, reverse
from unfold.decorators import display

from harmony.researcher import DomainAdmin, owned
from mlcore.admin import pictures
from mlcore.models import Explanation, ExplanationSet, ImageLabel, Prediction

PER_PAGE = 48


@admin.register(ExplanationSet)
class ExplanationSetAdmin(DomainAdmin):
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
            ("map/<int:pk>/<str:style>/<int:side>/", self.overlay, "overlay"),
        )

    def start_redirect(self, request: HttpRequest) -> HttpResponse:
        from django.shortcuts import redirect

        return redirect(f"{reverse('admin:mlcore_run_start')}?kind=explain")

    def page(self, request: HttpRequest, obj: Any) -> HttpResponse:
        style = request.GET.get("style", "overlay")
        style = style if style in pictures.STYLES else "overlay"
        maps = Explanation.objects.filter(set=obj).select_related("image").order_by("id")
        wrong_only = request.GET.get("show") == "wrong"
        if wrong_only:
            maps = _wrong(obj, maps)
        shown = Paginator(maps, PER_PAGE).get_page(request.GET.get("page"))
        status = dict(Explanation.objects.filter(set=obj).values_list("status").annotate(n=Count("id")).order_by())
        return self.render(
            request,
            "admin/harmony/explanation_set.html",
            obj=obj,
            maps=shown,
            tiles=_tiles(obj, shown.object_list),
            style=style,
            map_styles=pictures.STYLES,
            wrong_only=wrong_only,
            left_out={name: n for name, n in status.items() if name != Explanation.Status.OK},
            publish_url=_publish_url(obj),
        )

    def overlay(self, request: HttpRequest, pk: int, style: str, side: int) -> HttpResponse:
        maps = owned(Explanation.objects.select_related("image", "set"), request.user, "set__owner")
        return pictures.overlay(request, get_object_or_404(maps, pk=pk), style, side)


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
    maps = maps.annotate(said=said, true=Subquery(true.values("index")[:1]))
    return maps.exclude(said=None).exclude(true=None).exclude(said=F("true"))


def _tiles(obj: ExplanationSet, maps: Any) -> list[dict[str, Any]]:
    """Each map with what the classifier says and what the label says, in two queries a page."""
    images = [row.image_id for row in maps]
    known = {row.image_id: row for row in Prediction.objects.filter(classifier=obj.classifier_id, image__in=images)}
    true = dict(ImageLabel.objects.filter(image__in=images).order_by("-id").values_list("image", "index"))
    classes = obj.classifier.classes

    def name(index: int | None) -> str:
        return classes[index] if index is not None and index < len(classes) else ""

    tiles = []
    for row in maps:
        prediction = known.get(row.image_id)
        said = prediction.label if prediction else None
        if said is None and obj.target == ExplanationSet.Target.PREDICTED:
            said = row.target
        label = true.get(row.image_id)
        tiles.append(
            {
                "map": row,
                "target": name(row.target),
                "said": name(said),
                "confidence": prediction.confidence if prediction else None,
                "true": name(label),
                "wrong": said is not None and label is not None and said != label,
            }
        )
    return tiles
