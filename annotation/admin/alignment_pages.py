"""The page of a study's alignment analysis: asked for here, computed by a worker, shown when it is there."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core import signing
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST, require_safe

from annotation.admin import alignment_view, results, study_page
from annotation.analysis import request_analysis
from annotation.errors import StudyRefused
from annotation.looking import record_look
from annotation.models import Study, StudyAnalysis
from annotation.statistics.alignment import csv_tables, latex
from mlcore.runs.health import workers_alive

LOOK = "annotation.alignment.look"
LOOK_SECONDS = 3600
TEXTS = {
    "cells.csv": ("text/csv; charset=utf-8", csv_tables.cells),
    "raters.csv": ("text/csv; charset=utf-8", csv_tables.raters),
    "images.csv": ("text/csv; charset=utf-8", csv_tables.images),
    "alignment.tex": ("application/x-tex; charset=utf-8", latex.table),
    "alignment.json": ("application/json", alignment_view.as_json),
}
PICTURES = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png"}
OPEN = (StudyAnalysis.State.QUEUED, StudyAnalysis.State.RUNNING)


class AlignmentPages:
    """Pages of the study's admin that say whether people agree with a metric."""

    render: Any
    seen: Any

    def alignment_routes(self) -> tuple[tuple[str, Any, str], ...]:
        return (
            ("<int:pk>/alignment/", self.alignment, "alignment"),
            ("<int:pk>/alignment/ask/", self.ask_alignment, "alignment_ask"),
            ("<int:pk>/alignment/<uuid:key>/<str:name>", self.alignment_file, "alignment_file"),
        )

    @method_decorator(require_safe)
    def alignment(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The newest analysis that this look may see; a live study is folded until the look is logged."""
        study = self._preference(request, pk)
        row = self._shown(request, study)
        counts = study_page.kinds_that_answered(study)
        computing = row is not None and row.state in OPEN
        return self.render(
            request,
            "admin/harmony/alignment.html",
            obj=study,
            title=f"Alignment: {study}",
            study=study,
            analysis=row,
            computing=computing,
            no_worker=computing and not workers_alive("default"),
            folded=study.state == Study.State.LIVE and row is None,
            kinds=[
                {"name": kind, "answers": number, "chosen": kind in (row.kinds if row else results.kinds_of(counts))}
                for kind, number in counts.items()
                if number
            ],
            look=request.GET.get("look", ""),
            **(alignment_view.shown(row) if row is not None and row.state == StudyAnalysis.State.DONE else {}),
        )

    @method_decorator(require_POST)
    def ask_alignment(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for the figures of the answers that are there now; of a live study this is a look, and on record."""
        study = self._preference(request, pk)
        address = reverse("admin:annotation_study_alignment", args=[pk])
        kinds = request.POST.getlist("kinds") or results.kinds_of(study_page.kinds_that_answered(study))
        try:
            row = request_analysis(study, kinds, without=request.POST.get("without", "").split(","))
            if study.state == Study.State.LIVE:
                record_look(study, request.user)
        except StudyRefused as refused:
            messages.error(request, refused.sentence)
            return HttpResponseRedirect(address)
        return HttpResponseRedirect(f"{address}?look={signing.dumps([request.user.pk, str(row.uuid)], salt=LOOK)}")

    @method_decorator(require_safe)
    def alignment_file(self, request: HttpRequest, pk: int, key: UUID, name: str) -> HttpResponse | FileResponse:
        """A picture or a table of an analysis, under the same rule as its page."""
        study = self._preference(request, pk)
        row = study.analyses.filter(uuid=key, state=StudyAnalysis.State.DONE).first()
        if row is None or (study.state == Study.State.LIVE and self._looked_at(request) != str(key)):
            raise Http404("There is no such analysis, or its look has ended. Look again on the study's page.")
        stem, _, form = name.rpartition(".")
        if name in TEXTS:
            content_type, write = TEXTS[name]
            response = HttpResponse(write(row.result), content_type=content_type)
        else:
            figure = row.figures.filter(name=stem, format=form).first()
            if figure is None or form not in PICTURES:
                raise Http404(f"There is no “{name}”. Known: {', '.join(TEXTS)}.")
            response = HttpResponse(figure.file.read(), content_type=PICTURES[form])
        disposition = "inline" if name in ("alignment.svg", "gain.svg") and "save" not in request.GET else "attachment"
        response["Content-Disposition"] = f'{disposition}; filename="{str(study.uuid)[:8]}-{name}"'
        response["Cache-Control"] = "no-store"
        return response

    def _preference(self, request: HttpRequest, pk: int) -> Study:
        study: Study = self.seen(request, pk)
        if study.kind != "preference" or study.state == Study.State.DRAFT:
            raise Http404("Alignment is asked of preference studies that were published.")
        return study

    def _shown(self, request: HttpRequest, study: Study) -> StudyAnalysis | None:
        """What was asked for by this address, else the newest; nothing of a live study that was not looked at."""
        key = self._looked_at(request)
        if key:
            return study.analyses.filter(uuid=key).first()
        return None if study.state == Study.State.LIVE else study.analyses.order_by("-created").first()

    @staticmethod
    def _looked_at(request: HttpRequest) -> str:
        """The analysis that this person's logged look opened; empty where there is none, or the look is long past."""
        try:
            user, key = signing.loads(request.GET.get("look", ""), salt=LOOK, max_age=LOOK_SECONDS)
        except (signing.BadSignature, ValueError, TypeError):
            return ""
        return str(key) if user == request.user.pk else ""
