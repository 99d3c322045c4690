"""Runs: the list, the page of one run with its curves, and what can be done to it."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_POST
from unfold.decorators import display

from harmony.researcher import DomainAdmin
from harmony.templatetags.researcher import duration
from mlcore.admin import correspond_pages, report_pages, run_page, run_rates, run_tuning, score_table
from mlcore.admin.correspond_pages import CorrespondPages
from mlcore.admin.report_pages import ReportPages
from mlcore.admin.run_start import RunStartPages
from mlcore.catalogue import differences
from mlcore.models import Run, Score
from mlcore.runs import control
from mlcore.runs.start import RunRefused

COMPARED = 6


@admin.register(Run)
class RunAdmin(RunStartPages, ReportPages, CorrespondPages, DomainAdmin):
    list_display = ("name", "kind", "shown_state", "progress", "image_set", "owner", "created", "took")
    list_select_related = ("image_set", "owner")
    list_filter = ("kind", "state", "image_set")
    search_fields = ("name",)
    head_links = (
        ("Start a run", "admin:mlcore_run_start", "play_arrow"),
        ("Compare", "admin:mlcore_run_compare", "compare_arrows"),
    )
    head_text = "Training, explaining, scoring and evaluating, newest first."
    empty_text = "No run yet. Start one."

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("manifest")

    @display(
        description="state",
        ordering="state",
        label={
            "running": "info", "claimed": "info", "queued": "warning",
            "succeeded": "success", "failed": "danger", "cancelled": "warning",
        },
    )  # fmt: skip
    def shown_state(self, obj: Run) -> str:
        return obj.state

    @display(description="progress")
    def progress(self, obj: Run) -> str:
        if obj.state in Run.ENDED or not obj.total_steps:
            return "–"
        return f"{100 * obj.step / obj.total_steps:.0f} %"

    @display(description="took")
    def took(self, obj: Run) -> str:
        return duration(obj.ended - obj.started) if obj.ended and obj.started else "–"

    def routes(self):
        return (
            ("start/", self.start_page, "start"),
            ("start/fields/", self.form_part, "form"),
            ("compare/", self.compare_page, "compare"),
            ("<int:pk>/repeat/", self.repeat_page, "repeat"),
            ("<int:pk>/status/", self.status_part, "status"),
            ("<int:pk>/curves/", self.curves, "curves"),
            ("<int:pk>/rates/", self.rates, "rates"),
            ("<int:pk>/cancel/", require_POST(self.cancel), "cancel"),
            ("<int:pk>/report.csv", self.report_csv, "report_csv"),
            ("<int:pk>/report.tex", self.report_latex, "report_latex"),
            ("<int:pk>/comparison.<str:kind>", self.correspond_file, "correspond"),
            ("<int:pk>/resume/", require_POST(self.resume), "resume"),
        )

    def _related(self, request: HttpRequest) -> Any:
        return self.get_queryset(request).select_related(
            "image_set", "partition", "classifier", "supervision", "control", "repeats", "owner",
            "made_classifier", "made_attention", "made_network", "human_maps", "gallery",
        )  # fmt: skip

    def page(self, request: HttpRequest, obj: Any) -> HttpResponse:
        run = self.seen(request, obj.pk, self._related(request).defer(None))
        recipe = differences(run.kind, run.recipe)
        return self.render(
            request,
            "admin/harmony/run.html",
            obj=run,
            recipe=recipe,
            unchanged=sum(line.is_default for line in recipe),
            scores=Score.objects.filter(run=run, explanation_set=None)
            .exclude(metric__in=run_tuning.NAMES)
            .defer("per_image")
            .order_by("part", "metric"),
            tuned=run_tuning.outcome(run),
            rates=run_rates.outcome(run),
            table=score_table.of_run(run, sort=request.GET.get("sort", ""), order=request.GET.get("order", "")),
            sets=run.explanation_sets.select_related("classifier")[:60],
            maps=run_page.twelve(run, request.user),
            part_counts=run_page.part_counts(run),
            before_after_url=_before_after_url(run),
            **run_page.live(run),
            **report_pages.context(run, request),
            **correspond_pages.context(run, request),
        )

    def status_part(self, request: HttpRequest, pk: int) -> HttpResponse:
        """State, progress and log, asked for every two seconds; once the run has ended the page is read anew."""
        run = self.seen(request, pk, self.get_queryset(request).select_related("owner"))
        context = run_page.live(run)
        response = self.render(request, "admin/harmony/run_live.html", obj=run, **context)
        if not context["open"]:
            response["HX-Refresh"] = "true"
        return response

    def curves(self, request: HttpRequest, pk: int) -> HttpResponse:
        return JsonResponse(run_page.curves(self.seen(request, pk)), headers={"Cache-Control": "no-store"})

    def rates(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A learning-rate test's losses over the rate."""
        return JsonResponse(run_rates.curve(self.seen(request, pk)), headers={"Cache-Control": "no-store"})

    def cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._act(request, pk, control.cancel, "It stops after the step at hand.")

    def resume(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._act(request, pk, control.resume, "It goes on from its last checkpoint.")

    def _act(self, request: HttpRequest, pk: int, action: Any, said: str) -> HttpResponse:
        run = self.seen(request, pk)
        try:
            action(run, request.user)
        except RunRefused as error:
            messages.error(request, " ".join(error.errors.values()))
        else:
            messages.success(request, said)
        return HttpResponseRedirect(reverse("admin:mlcore_run_change", args=[pk]))

    def compare_page(self, request: HttpRequest) -> HttpResponse:
        """Recipes and scores of the chosen runs side by side."""
        chosen = list(dict.fromkeys(int(pk) for pk in request.GET.getlist("run") if pk.isdigit()))[:COMPARED]
        seen = self.get_queryset(request).select_related("image_set", "partition", "classifier", "supervision")
        found = seen.in_bulk(chosen)
        runs = [found[pk] for pk in chosen if pk in found]
        kinds = {run.kind for run in runs} or {Run.Kind.TRAIN}
        candidates = seen.filter(kind__in=kinds, state=Run.State.SUCCEEDED).exclude(pk__in=chosen)[:100]
        return self.render(
            request, "admin/harmony/run_compare.html", title="Compare runs", runs=runs, candidates=candidates,
            **run_page.comparison(runs),
        )  # fmt: skip


def _before_after_url(run: Run) -> str:
    if run.kind != Run.Kind.TRAIN or not run.classifier_id:
        return ""
    try:
        return reverse("admin:annotation_study_before_after", args=[run.pk])
    except NoReverseMatch:
        return ""
