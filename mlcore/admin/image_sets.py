"""Sets of images: the list with counts, a page with the pictures, import of a folder, making a partition."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from unfold.decorators import display

from harmony.researcher import DomainAdmin, owned
from mlcore.admin import pictures
from mlcore.admin.compare import ComparePages
from mlcore.admin.image_forms import import_form, partition_form, zip_form
from mlcore.admin.score_pages import ScorePages
from mlcore.models import Classifier, ExplanationSet, Image, ImageSet, Partition, Score
from mlcore.models.partitions import Part

PER_PAGE = 60


@admin.register(ImageSet)
class ImageSetAdmin(ComparePages, ScorePages, DomainAdmin):
    list_display = ("name", "image_count", "class_count", "partition_count", "owner", "created")
    list_select_related = ("owner",)
    search_fields = ("name",)
    head_links = (("Import images", "admin:mlcore_imageset_import", "upload"),)
    administrator_links = (("Import a folder of the server", "admin:mlcore_imageset_folder", "folder_open"),)
    head_text = "The pictures that classifiers learn from and people judge."
    empty_text = "No images yet. Import a folder of images: a folder a class, or a CSV with file, label and split."

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).annotate(n_images=_counted(Image), n_partitions=_counted(Partition))

    @display(description="images", ordering="n_images")
    def image_count(self, obj: Any) -> int:
        return obj.n_images

    @display(description="classes")
    def class_count(self, obj: ImageSet) -> int:
        return len(obj.classes)

    @display(description="partitions", ordering="n_partitions")
    def partition_count(self, obj: Any) -> int:
        return obj.n_partitions

    def routes(self):
        return (
            ("import/", self.import_page, "import"),
            ("import-folder/", self.folder_page, "folder"),
            ("<int:pk>/maps/", self.maps_page, "maps"),
            ("<int:pk>/scores/", self.scores_page, "scores"),
            ("<int:pk>/scores.csv", self.scores_csv, "scores_csv"),
            ("<int:pk>/partition/", self.partition_page, "partition"),
            ("image/<int:pk>/<int:side>/", self.thumbnail, "thumbnail"),
        )

    def page(self, request: HttpRequest, obj: Any) -> HttpResponse:
        chosen = request.GET.get("class", "")
        images = Image.objects.filter(image_set=obj).prefetch_related("labels")
        if chosen.isdigit():
            images = images.filter(labels__index=int(chosen)).distinct()
        images = images.order_by("id")
        shown = Paginator(images, PER_PAGE).get_page(request.GET.get("page"))
        counts = dict(
            Image.objects.filter(image_set=obj)
            .values_list("labels__index")
            .annotate(n=Count("id", distinct=True))
            .order_by()
        )
        return self.render(
            request,
            "admin/harmony/image_set.html",
            obj=obj,
            images=shown,
            chosen=chosen,
            classes=[(index, name, counts.get(index, 0)) for index, name in enumerate(obj.classes)],
            unlabelled=counts.get(None, 0),
            partitions=_with_parts(owned(Partition.objects.filter(image_set=obj), request.user)),
            parts=Part.choices,
            explained=_explained(obj, request.user),
            classifiers=owned(Classifier.objects.filter(runs__image_set=obj), request.user).distinct()[:20],
        )

    def import_page(self, request: HttpRequest) -> HttpResponse:
        """A zip becomes a set of images, or is added to one."""
        return self._import(request, zip_form(request), "Import images")

    def folder_page(self, request: HttpRequest) -> HttpResponse:
        """The same from a folder on the server. For administrators: it reads any folder that the server may read."""
        if not request.user.is_superuser:  # type: ignore[union-attr]
            raise PermissionDenied("Only administrators import folders of the server.")
        return self._import(request, import_form(request), "Import a folder of the server")

    def _import(self, request: HttpRequest, form: Any, title: str) -> HttpResponse:
        if request.method == "POST" and form.is_valid():
            report = form.perform()
            if report is not None:
                messages.success(request, report.sentence())
                if not (report.problems or report.notes):
                    address = reverse("admin:mlcore_imageset_change", args=[report.image_set.pk])
                    return HttpResponseRedirect(address)
                return self.render(
                    request, "admin/harmony/image_problems.html", obj=report.image_set,
                    title="What the import says", report=report,
                )  # fmt: skip
        status = 422 if request.method == "POST" else 200
        return self.render(
            request, "admin/harmony/form.html", title=title, form=form, verb="Import", status=status,
            back=reverse("admin:mlcore_imageset_changelist"),
            intro="A folder a class, or a CSV that names each file with its label. Importing twice adds nothing; "
            "a file that cannot be read is named with its reason and the rest goes on.",
        )  # fmt: skip

    def partition_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Cut the set into its four parts."""
        image_set = self.seen(request, pk)
        form = partition_form(request, image_set)
        if request.method == "POST" and form.is_valid() and form.perform() is not None:
            messages.success(request, "The partition is made. It never changes; another split is another partition.")
            return HttpResponseRedirect(reverse("admin:mlcore_imageset_change", args=[pk]))
        status = 422 if request.method == "POST" else 200
        return self.render(
            request, "admin/harmony/form.html", obj=image_set, title="Make a partition", form=form, verb="Make",
            back=reverse("admin:mlcore_imageset_change", args=[pk]), status=status,
            intro="Train teaches; the annotation pool is what people rate and draw; validation chooses the epoch; "
            "test is looked at once. Shares are of each class.",
        )  # fmt: skip

    def thumbnail(self, request: HttpRequest, pk: int, side: int) -> HttpResponse:
        images = owned(Image.objects.select_related("image_set"), request.user, "image_set__owner")
        return pictures.thumbnail(request, get_object_or_404(images, pk=pk), side)


def _explained(obj: Any, user: Any) -> dict[str, int]:
    """How many sets of maps there are of these images, and how many of them are scored."""
    sets = owned(ExplanationSet.objects.filter(image_set=obj), user).order_by()
    scored = Score.objects.filter(explanation_set__in=sets.values("pk")).order_by()
    return {"sets": sets.count(), "scored": scored.values("explanation_set").distinct().count()}


def _counted(model: type[Model]) -> Coalesce:
    """The number of rows of `model` in a set, as a subquery: two joined counts would multiply."""
    rows = model._default_manager.filter(image_set=OuterRef("pk")).order_by().values("image_set")
    return Coalesce(Subquery(rows.annotate(n=Count("pk")).values("n")), 0)


def _with_parts(partitions: QuerySet) -> list[dict[str, Any]]:
    """Each partition with the number of images in each part, in two queries whatever their number."""
    rows = list(partitions[:50])
    counts: dict[int, dict[str, int]] = {}
    members = (
        Partition.objects.filter(pk__in=[row.pk for row in rows])
        .values_list("pk", "members__part")
        .annotate(n=Count("members__id"))
        .order_by()
    )
    for pk, part, n in members:
        counts.setdefault(pk, {})[part] = n
    return [{"partition": row, "counts": counts.get(row.pk, {})} for row in rows]
