"""manage.py run_status [RUN] [--log]"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from mlcore.management.arguments import find
from mlcore.models import Run
from mlcore.runs import summary
from mlcore.runs.health import queue_state


class Command(BaseCommand):
    help = "Where a run stands; without a run, the newest twenty and the state of the queue."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", nargs="?", help="name or UUID (or its first six letters)")
        parser.add_argument("--log", action="store_true", help="the end of the run's log too")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["run"]:
            self._one(find(Run, options["run"]), log=options["log"])
            return
        for run in Run.objects.defer("manifest", "log")[:20]:
            self.stdout.write(self._line(run))
        found = queue_state()
        self.stdout.write(f"{found.waiting} waiting, {found.held} running, {found.workers} training workers alive.")
        if found.sentence:
            self.stdout.write(self.style.WARNING(found.sentence))

    def _line(self, run: Run) -> str:
        share = f"{summary.progress(run):4.0%}" if run.state in Run.OPEN else "    "
        left = summary.time_left(run)
        more = run.reason or (f"{left} left" if left else run.stage)
        return f"{str(run.uuid)[:8]}  {run.state:<10}{share}  {run.kind:<9}{run.name}" + (f" – {more}" if more else "")

    def _one(self, run: Run, *, log: bool) -> None:
        self.stdout.write(self._line(run))
        self.stdout.write(f"  uuid      {run.uuid}")
        if run.total_steps:
            self.stdout.write(f"  steps     {run.step} of {run.total_steps}")
        if run.worker:
            self.stdout.write(f"  worker    {run.worker} ({run.device or 'starting'}), attempt {run.attempts}")
        made = getattr(run, "made_classifier", None)
        if made is not None:
            self.stdout.write(f"  classifier {made.uuid} sha256 {made.sha256}")
        for score in (
            run.scores.select_related("explanation_set")
            .defer("per_image")
            .order_by("explanation_set", "part", "metric")
        ):
            value = "–" if score.value is None else f"{score.value:.4f}"
            whose = f"{score.explanation_set.method:<22}" if score.explanation_set is not None else ""
            self.stdout.write(f"  {whose}{score.part:<16}{score.metric:<20}{value}  (n = {score.n})")
        if log:
            self.stdout.write(summary.log_tail(run, 200))
