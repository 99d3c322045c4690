"""The table of a report on its run's page, and the same as CSV and as LaTeX."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.text import slugify

from mlcore.models import Run
from mlcore.runs.report import Report, report_of
from mlcore.runs.report_tables import csv_text, latex_text

# Metrics that are published for the predicted class.
OF_THE_PREDICTED = ("average_drop", "increase_in_confidence")


class ReportPages:
    """Pages of the run's admin."""

    seen: Any

    def report_csv(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._file(request, pk, "csv", "text/csv; charset=utf-8", csv_text)

    def report_latex(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._file(request, pk, "tex", "application/x-tex; charset=utf-8", latex_text)

    def _file(
        self, request: HttpRequest, pk: int, ending: str, content_type: str, text: Callable[[Report], str]
    ) -> HttpResponse:
        run = self.seen(request, pk)
        report = _asked_for(run, request)
        if report is None:
            raise Http404("This run has no report to download.")
        response = HttpResponse(text(report), content_type=content_type)
        name = slugify(run.name) or f"report-{run.pk}"
        response["Content-Disposition"] = f'attachment; filename="{name}.{ending}"'
        response["Cache-Control"] = "private, no-store"
        return response


def context(run: Run, request: HttpRequest) -> dict[str, Any]:
    """What the page of a report shows; nothing for other runs."""
    report = _asked_for(run, request) if run.state == Run.State.SUCCEEDED else None
    if report is None:
        return {"report": None, "keep": ""}
    against = report.against.key if report.against else ""
    asked = {"sort": request.GET.get("sort", ""), "order": request.GET.get("order", "")}
    return {
        "report": report,
        "keep": urlencode({"against": against}) + "&" if against else "",
        "asked": {name: value for name, value in asked.items() if value},
        "query": urlencode({"against": against, **asked}),
        "of_the_true": run.recipe.get("target") == "true"
        and any(column.name.startswith(OF_THE_PREDICTED) for column in report.columns),
    }


def _asked_for(run: Run, request: HttpRequest) -> Report | None:
    given = request.GET
    return report_of(
        run, against=given.get("against", ""), sort=given.get("sort", ""), order=given.get("order", "")
    )  # fmt: skip
