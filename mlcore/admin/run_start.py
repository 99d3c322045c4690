"""Start a run from the admin, and repeat one with changes: the same functions as on the command line."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from mlcore.admin import run_choices, run_form
from mlcore.catalogue import RecipeError
from mlcore.catalogue.tuning_form import follow
from mlcore.models import Run
from mlcore.runs.start import RunRefused, start_control, start_run


class RunStartPages:
    """Pages of the run's admin that put a new run into the queue."""

    render: Any
    seen: Any

    def start_page(self, request: HttpRequest) -> HttpResponse:
        """The form; with POST, the run."""
        if request.method == "POST":
            return self._start(request, None)
        return self._show(request, run_form.build(request.user, run_choices.read(request.GET)))

    def repeat_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The form filled from a run; with POST, a run that says what it repeats."""
        run = self.seen(request, pk)
        if request.method == "POST":
            return self._start(request, run)
        given = run_choices.read(request.GET)
        return self._show(request, run_form.build(request.user, given or run_form.from_run(run)), run)

    def form_part(self, request: HttpRequest) -> HttpResponse:
        """The lines that change with the objective, the images or the method; asked for by htmx."""
        data = run_choices.read(request.GET)
        if request.headers.get("HX-Trigger-Name") in ("classifier", "kind"):
            # The input size that stood there belonged to another classifier; this one's own comes in its place.
            data = {name: value for name, value in data.items() if name not in run_form.told_by(data.get("kind"))}
        if request.headers.get("HX-Trigger-Name") in ("objective", "metric", "labels"):
            data = follow(data)
        form = run_form.build(request.user, data)
        return self.render(request, "admin/harmony/run_form_fields.html", title="Start a run", form=form)

    def _start(self, request: HttpRequest, repeats: Run | None) -> HttpResponse:
        data = run_choices.read(request.POST)
        form = run_form.build(request.user, data)
        try:
            run = self._queue(request, form, repeats)
        except (RunRefused, RecipeError) as error:
            form = run_form.build(request.user, data, error.errors)
            return self._show(request, form, repeats, status=422)
        messages.success(request, f"“{run.name}” waits for a worker.")
        return HttpResponseRedirect(reverse("admin:mlcore_run_change", args=[run.pk]))

    @staticmethod
    def _queue(request: HttpRequest, form: run_form.RunForm, repeats: Run | None) -> Run:
        if form.objects["image_set"] is None:
            raise RunRefused({"image_set": "Choose the images of this run."})
        with transaction.atomic():
            run = start_run(
                kind=form.kind,
                name=form.name,
                owner=request.user,
                recipe=form.recipe,
                seed=form.seed,
                repeats=repeats,
                **form.objects,
            )
            if form.with_control and form.control_offered:
                start_control(run, owner=request.user)
        return run

    def _show(
        self, request: HttpRequest, form: run_form.RunForm, repeats: Run | None = None, status: int = 200
    ) -> HttpResponse:
        return self.render(
            request,
            "admin/harmony/run_start.html",
            obj=repeats,
            title=f"Repeat “{repeats}” with changes" if repeats else "Start a run",
            form=form,
            kinds=run_form.KIND_TITLES,
            repeats=repeats,
            status=status,
        )
