"""Pages of the study builder: make a study, change a draft, revise a live one's texts, and its pictures."""

from typing import Any

from django.contrib import messages
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from annotation import publishing, study_pictures
from annotation.admin import builder
from annotation.admin.sample_form import design_of, sample_view
from annotation.errors import StudyRefused
from annotation.models import Study
from harmony.pictures import answer
from harmony.researcher import owned
from mlcore.exchange.verify import open_picture
from mlcore.models import ExplanationSet, Image, ImageSet

SAVED = {
    "": "Nothing was changed.",
    "texts": "The new texts are kept.",
    "design": "The draft was made anew. Its added trials, pictures and invitations are kept.",
}


class BuilderPages:
    """The builder's part of the study's admin."""

    render: Any
    seen: Any

    def builder_routes(self) -> tuple[tuple[str, Any, str], ...]:
        return (
            ("create/", self.create_page, "create"),
            ("<int:pk>/edit/", self.edit_page, "edit"),
            ("<int:pk>/copy/", self.copy_page, "copy"),
            ("<int:pk>/sample/", self.sample_page, "sample"),
            ("<int:pk>/pictures/", self.pictures_page, "pictures"),
            ("<int:pk>/pictures/<int:picture>/", self.picture_file, "picture"),
            ("<int:pk>/pictures/<int:picture>/delete/", self.picture_delete, "picture_delete"),
        )

    def create_page(self, request: HttpRequest) -> HttpResponse:
        """The form, filled in from the chosen maps or image set; with POST, the study."""
        if request.method != "POST":
            fresh = builder.read(request.user, request.GET)
            builder.begin(fresh)
            return self._builder(request, fresh)
        made = builder.read(request.user, request.POST, request.FILES)
        if made.structure is None or request.POST.get("do"):
            builder.change(made, request.POST.get("do", ""))
            return self._builder(request, made)
        try:
            study = builder.keep(made, live=request.POST.get("live") == "yes")
        except builder.BuilderRefused:
            return self._builder(request, made, 422)
        said = "is published" if study.state == Study.State.LIVE else "is kept as a draft"
        messages.success(request, f"“{study}” {said}.")
        return _to(study)

    def edit_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The same form for a study that is there: all of a draft, the texts of a live one."""
        study = self.seen(request, pk)
        if study.state == Study.State.CLOSED:
            messages.error(request, f"“{study}” is closed; its texts stay as people read them.")
            return _to(study)
        if request.method != "POST":
            return self._builder(request, builder.shown_of(request.user, study))
        made = builder.read(request.user, request.POST, request.FILES, study)
        if request.POST.get("do"):
            builder.change(made, request.POST["do"])
            return self._builder(request, made)
        try:
            study, what = builder.save(made)
        except builder.BuilderRefused:
            return self._builder(request, made, 422)
        messages.success(request, SAVED[what])
        return _to(study)

    def copy_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A name, and with POST the copy."""
        study = self.seen(request, pk)
        name, refused = f"{study.name[:150]}, copy", ""
        if request.method == "POST":
            name = request.POST.get("name", "")
            try:
                copied = publishing.copy_study(study, request.user, name)
            except StudyRefused as error:
                refused = error.sentence
            else:
                messages.success(request, "This is the copy, a draft without people and answers.")
                return _to(copied)
        return self.render(
            request, "admin/harmony/study_copy.html", obj=study, title=f"Copy “{study}”", study=study, name=name,
            refused=refused, status=422 if refused else 200,
        )  # fmt: skip

    def sample_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """How many people this study needs; a part of its page, or by itself."""
        study = self.seen(request, pk)
        sample = sample_view(design_of(study), request.GET.dict(), sides=study.mode)
        part = bool(request.headers.get("HX-Request"))
        return self.render(
            request,
            "admin/harmony/study_sample.html" if part else "admin/harmony/study_sample_page.html",
            obj=study, title=f"People for “{study}”", study=study, sample=sample,
        )  # fmt: skip

    def pictures_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The study's pictures for its texts; with POST, one more."""
        study = self.seen(request, pk)
        refused = ""
        if request.method == "POST":
            upload = request.FILES.get("picture")
            try:
                if upload is None:
                    raise StudyRefused("Choose a picture.")
                made = study_pictures.add_picture(study, request.user, upload, request.POST.get("name", ""))
            except StudyRefused as error:
                refused = error.sentence
            else:
                messages.success(request, f"Texts show it by ![what one sees](picture:{made.name}).")
                return HttpResponseRedirect(reverse("admin:annotation_study_pictures", args=[pk]))
        return self.render(
            request, "admin/harmony/study_pictures.html", obj=study, title=f"Pictures of “{study}”", study=study,
            pictures=list(study.pictures.all()), refused=refused, typed=request.POST.get("name", ""),
            status=422 if refused else 200,
        )  # fmt: skip

    def picture_file(self, request: HttpRequest, pk: int, picture: int) -> HttpResponse:
        row = get_object_or_404(self.seen(request, pk).pictures, pk=picture)

        def draw() -> Any:
            with row.file.open("rb") as stream:
                return open_picture(stream.read()).convert("RGB")

        return answer(request, f"study-picture-{row.pk}", draw)

    @method_decorator(require_POST)
    def picture_delete(self, request: HttpRequest, pk: int, picture: int) -> HttpResponse:
        row = get_object_or_404(self.seen(request, pk).pictures, pk=picture)
        try:
            study_pictures.remove_picture(row, request.user)
        except StudyRefused as error:
            messages.error(request, error.sentence)
        return HttpResponseRedirect(reverse("admin:annotation_study_pictures", args=[pk]))

    def _builder(self, request: HttpRequest, made: builder.Builder, status: int = 200) -> HttpResponse:
        if made.study is None and made.structure is None:
            return self._choose(request)
        study = made.study
        return self.render(
            request,
            "admin/harmony/study_builder.html",
            obj=study,
            title=f"Change “{study}”" if study is not None else "Publish a study",
            form=made,
            study=study,
            pictures=list(study.pictures.values_list("name", flat=True)) if study is not None else [],
            status=status,
        )

    def _choose(self, request: HttpRequest) -> HttpResponse:
        """What a study can be made from: image sets, with how many images and sets of maps they have."""
        sets = owned(ImageSet.objects.all(), request.user)
        counted = sets.annotate(n_images=_count_of(Image), n_maps=_count_of(ExplanationSet)).order_by("-pk")[:50]
        return self.render(
            request, "admin/harmony/study_choose.html", title="Publish a study", image_sets=list(counted)
        )


def _count_of(model: Any) -> Coalesce:
    rows = model.objects.filter(image_set=OuterRef("pk")).order_by().values("image_set").annotate(n=Count("pk"))
    return Coalesce(Subquery(rows.values("n")), 0)


def _to(study: Study) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:annotation_study_change", args=[study.pk]))
