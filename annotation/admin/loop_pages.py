"""Pages that close the loop: phase 2 from a study's answers, and what it changed."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from annotation.admin import before_after, phase2, results, study_page
from annotation.errors import FeedbackRefused
from annotation.feedback import make_human_maps
from annotation.models import Participant
from harmony.researcher import owned
from mlcore.models import Explanation, Run
from mlcore.runs.comparison_maps import start_comparison_maps
from mlcore.runs.start import RunRefused


class LoopPages:
    """Pages of the study's admin that lead back to the classifier."""

    render: Any
    seen: Any

    def loop_routes(self) -> tuple[tuple[str, Any, str], ...]:
        return (
            ("<int:pk>/phase2/", self.phase2_page, "phase2"),
            ("<int:pk>/human-maps/", self.keep_human_maps, "human_maps"),
            ("before-after/<int:pk>/", self.before_after_page, "before_after"),
            ("before-after/<int:pk>/explain/", self.explain_both, "explain_both"),
            ("outlined/<int:run>/<int:pk>/<str:style>/<int:side>/", self.outlined, "outlined"),
        )

    def phase2_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Which answers and which classifier; with POST, the run and its control."""
        study = self.seen(request, pk)
        form = phase2.form_for(request, study)
        if request.method == "POST" and form.is_valid():
            runs = form.perform()
            if runs is not None:
                run, _control = runs
                messages.success(request, f"“{run}” and its control wait for a worker.")
                return HttpResponseRedirect(reverse("admin:mlcore_run_change", args=[run.pk]))
        return self.render(
            request, "admin/harmony/form.html", obj=study, title=f"Start phase 2 from “{study}”", form=form,
            status=422 if request.method == "POST" else 200,
            back=reverse("admin:annotation_study_change", args=[pk]),
            verb="Start phase 2",
            intro="The classifier is tuned on its training images and on those that people judged. Maps that people "
            "found unreasonable count more. A control learns the same without the maps.",
        )  # fmt: skip

    @method_decorator(require_POST)
    def keep_human_maps(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A snapshot of what each person drew, to score maps against; of scripted annotators where only they drew."""
        study = self.seen(request, pk)
        kinds = results.kinds_of(study_page.kinds_that_answered(study))
        try:
            kept = make_human_maps(name=study.name, owner=request.user, drawings=[study], kinds=kinds)
        except FeedbackRefused as refused:
            messages.error(request, " ".join(refused.errors.values()))
            return HttpResponseRedirect(reverse("admin:annotation_study_change", args=[pk]))
        whose = "" if kinds == [Participant.Kind.HUMAN] else f" of {' and '.join(kinds)} annotators"
        messages.success(
            request, f"{kept.maps.count()} maps{whose} are kept as they are now. Score maps to compare them."
        )
        return HttpResponseRedirect(reverse("admin:mlcore_humanmapset_change", args=[kept.pk]))

    def before_after_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What phase 2 changed: figures, what people say of both, and the maps that changed most."""
        run = self._run(request, pk)
        style = request.GET.get("style", "overlay")
        return self.render(
            request,
            "admin/harmony/before_after.html",
            title=f"Before and after: {run}",
            run=run,
            style=style if style in before_after.STYLES else "overlay",
            map_styles=before_after.STYLES,
            **before_after.shown(run, request.user),
        )

    @method_decorator(require_POST)
    def explain_both(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Starts the runs that make the maps which the before/after page compares."""
        try:
            runs = start_comparison_maps(self._run(request, pk), request.user)
            messages.success(request, f"{len(runs)} runs make the maps. They appear here when the runs have ended.")
        except RunRefused as refused:
            messages.error(request, " ".join(refused.errors.values()))
        return HttpResponseRedirect(reverse("admin:annotation_study_before_after", args=[pk]))

    def outlined(self, request: HttpRequest, run: int, pk: int, style: str, side: int) -> HttpResponse:
        """A map with what people painted as an outline."""
        maps = owned(Explanation.objects.select_related("image", "set"), request.user, "set__owner")
        return before_after.picture(request, self._run(request, run), get_object_or_404(maps, pk=pk), style, side)

    @staticmethod
    def _run(request: HttpRequest, pk: int) -> Run:
        runs = owned(Run.objects.filter(kind=Run.Kind.TRAIN).defer("manifest", "log"), request.user)
        related = runs.select_related(
            "classifier",
            "control__made_classifier",
            "made_classifier",
            "supervision",
            "partition__image_set",
            "image_set",
        )
        run = related.filter(pk=pk).first()
        if run is None or run.classifier_id is None:
            raise Http404("There is no such run, or it did not start from a classifier.")
        return run
