"""The page of a study's analysis: asked for here, computed by a worker, shown when it is there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core import signing
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST, require_safe

from annotation.admin import alignment_view, results, study_page, team_view
from annotation.analysis import request_analysis
from annotation.errors import StudyRefused
from annotation.looking import record_look
from annotation.models import Study, StudyAnalysis
from annotation.statistics import team_print
from annotation.statistics.alignment import csv_tables, latex
from mlcore.runs.health import workers_alive

LOOK = "annotation.alignment.look"
LOOK_SECONDS = 3600
CSV, TEX, JSON = "text/csv; charset=utf-8", "application/x-tex; charset=utf-8", "application/json"
PICTURES = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png"}
OPEN = (StudyAnalysis.State.QUEUED, StudyAnalysis.State.RUNNING)
Write = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True)
class View:
    """What the page of one kind's analysis shows, and the files beside its pictures: name → content type and text."""

    title: str
    template: str
    shown: Callable[[StudyAnalysis], dict[str, Any]]
    texts: Mapping[str, tuple[str, Write]]


VIEWS = {
    "preference": View(
        "Alignment",
        "admin/harmony/alignment_report.html",
        alignment_view.shown,
        {
            "cells.csv": (CSV, csv_tables.cells),
            "raters.csv": (CSV, csv_tables.raters),
            "images.csv": (CSV, csv_tables.images),
            "alignment.tex": (TEX, latex.table),
            "alignment.json": (JSON, alignment_view.as_json),
        },
    ),
    "team": View(
        "Analysis",
        "admin/harmony/team_report.html",
        team_view.shown,
        {
            "conditions.csv": (CSV, team_print.conditions),
            "comparisons.csv": (CSV, team_print.comparisons),
            "people.csv": (CSV, team_print.people),
            "team.tex": (TEX, team_print.table),
            "team.json": (JSON, team_print.as_json),
        },
    ),
}


class AnalysisPages:
    """Pages of the study's admin with what a worker computes: do people agree with a metric, how does a team decide."""

    render: Any
    seen: Any

    def analysis_routes(self) -> tuple[tuple[str, Any, str], ...]:
        return (
            ("<int:pk>/analysis/", self.analysis, "analysis"),
            ("<int:pk>/analysis/ask/", self.ask_analysis, "analysis_ask"),
            ("<int:pk>/analysis/<uuid:key>/<str:name>", self.analysis_file, "analysis_file"),
        )

    @method_decorator(require_safe)
    def analysis(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The newest analysis that this look may see; a live study is folded until the look is logged."""
        study, view = self._analysed(request, pk)
        row = self._shown(request, study)
        counts = study_page.kinds_that_answered(study)
        computing = row is not None and row.state in OPEN
        return self.render(
            request,
            "admin/harmony/analysis.html",
            obj=study,
            title=f"{view.title}: {study}",
            view=view,
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
            **(view.shown(row) if row is not None and row.state == StudyAnalysis.State.DONE else {}),
        )

    @method_decorator(require_POST)
    def ask_analysis(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for the figures of the answers that are there now; of a live study this is a look, and on record."""
        study, _ = self._analysed(request, pk)
        address = reverse("admin:annotation_study_analysis", args=[pk])
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
    def analysis_file(self, request: HttpRequest, pk: int, key: UUID, name: str) -> HttpResponse | FileResponse:
        """A picture or a table of an analysis, under the same rule as its page."""
        study, view = self._analysed(request, pk)
        row = study.analyses.filter(uuid=key, state=StudyAnalysis.State.DONE).first()
        if row is None or (study.state == Study.State.LIVE and self._looked_at(request) != str(key)):
            raise Http404("There is no such analysis, or its look has ended. Look again on the study's page.")
        stem, _, form = name.rpartition(".")
        if name in view.texts:
            content_type, write = view.texts[name]
            response = HttpResponse(write(row.result), content_type=content_type)
        else:
            figure = row.figures.filter(name=stem, format=form).first()
            if figure is None or form not in PICTURES:
                raise Http404(f"There is no “{name}”. Known: {', '.join(view.texts)}.")
            response = HttpResponse(figure.file.read(), content_type=PICTURES[form])
        disposition = "inline" if form == "svg" and "save" not in request.GET else "attachment"
        response["Content-Disposition"] = f'{disposition}; filename="{str(study.uuid)[:8]}-{name}"'
        response["Cache-Control"] = "no-store"
        return response

    def _analysed(self, request: HttpRequest, pk: int) -> tuple[Study, View]:
        study: Study = self.seen(request, pk)
        if study.kind not in VIEWS or study.state == Study.State.DRAFT:
            raise Http404("Published studies of a preference or of a team have an analysis.")
        return study, VIEWS[study.kind]

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
