"""Events of the child become rows: collected, and written together with the heartbeat."""

import shutil
from pathlib import Path
from typing import Any

from mlcore.models import Classifier, Run, RunMetric
from mlcore.runs import correspond_outputs, outputs, state
from mlcore.runs.state import Claim

ENDINGS = ("result", "failed", "cancelled")
# Stages that the bar counts, where they are not those of the other kinds; a report counts everything itself.
COUNTED = {
    Run.Kind.EVALUATE.value: ("looking at",),
    Run.Kind.REPORT.value: ("",),
    Run.Kind.CORRESPOND.value: ("describing", "comparing", "looking at"),
    Run.Kind.LR_TEST.value: ("trying rates",),
}
MOST_METRICS = 2000  # rows; written at once when so many wait


class Intake:
    """What the child of one attempt has said. `ending` is its last word, once it came."""

    def __init__(self, claim: Claim, run: Run, workdir: Path) -> None:
        self.claim, self.run, self.workdir = claim, run, workdir
        self.ending: dict[str, Any] | None = None
        self._fields: dict[str, Any] = {}
        self._lines: list[str] = []
        self._metrics: list[RunMetric] = []
        self._tidied = False
        # What is said of a classifier that has no row before the run succeeds.
        self._predictions: list[dict[str, Any]] = []
        self._scores: list[tuple[str, list[dict[str, Any]]]] = []

    @property
    def full(self) -> bool:
        """Whether what waits should be written now."""
        return len(self._metrics) >= MOST_METRICS

    def take(self, event: dict[str, Any]) -> None:
        """One event. Raises StaleAttempt where the run is not ours any more."""
        name = event["event"]
        if name in ENDINGS:
            self.ending = event
        else:
            handler = getattr(self, f"_take_{name}", None)
            if handler is not None:  # a newer child may say more than we know
                handler(event)

    def write(self) -> bool:
        """Write what waits, with a heartbeat. True where the run shall be cancelled."""
        with state.held(self.claim):
            # The newest of a curve's point wins: a resumed run repeats the steps after its checkpoint.
            RunMetric.objects.bulk_create(
                self._metrics,
                update_conflicts=True,
                unique_fields=["run", "name", "part", "step"],
                update_fields=["value", "epoch"],
                batch_size=150,
            )
            cancel = state.beat(self.claim, self._lines, **self._fields)
        self._metrics, self._lines, self._fields = [], [], {}
        return cancel

    def note(self, text: str, level: str = "info") -> None:
        """A line for the run's log."""
        self._lines.append(state.line(text, level))

    def write_about(self, classifier: Classifier) -> None:
        """Write predictions and scores that waited for their classifier's row. Call inside `held`."""
        outputs.write_predictions(classifier, self._predictions)
        for part, rows in self._scores:
            outputs.write_scores(self.run, classifier, part, rows)
        self._predictions, self._scores = [], []

    def _take_started(self, event: dict[str, Any]) -> None:
        state.begin(
            self.claim,
            total_steps=event.get("total_steps") or 0,
            versions=event.get("versions") or {},
            device=str(event.get("device") or ""),
        )

    def _take_progress(self, event: dict[str, Any]) -> None:
        self._fields |= {"stage": str(event["stage"])[:80], "seconds_left": event.get("seconds_left")}
        counted = COUNTED.get(self.run.kind, ("training", "explaining", "scoring"))
        if event["stage"].startswith(counted):
            # The bar counts steps of the work itself; reading pictures, or a look at the end, only name the stage.
            self._fields |= {"step": event["step"], "total_steps": event["total"]}

    def _take_metrics(self, event: dict[str, Any]) -> None:
        newest = {(row.name, row.part, row.step): row for row in self._metrics}
        for row in event["rows"]:
            if row["value"] is None or not outputs.known_part(row["part"]):
                continue
            newest[row["name"], row["part"], row["step"]] = RunMetric(
                run_id=self.claim.pk,
                step=row["step"],
                epoch=row["epoch"],
                part=row["part"],
                name=row["name"][:60],
                value=row["value"],
            )
        self._metrics = list(newest.values())

    def _take_log(self, event: dict[str, Any]) -> None:
        self.note(str(event["text"])[:2000], str(event.get("level") or "info"))

    def _take_checkpoint(self, event: dict[str, Any]) -> None:
        state.beat(self.claim, checkpoint=str(event["path"]))
        if not self._tidied:
            # From now on nothing is read from what earlier attempts have left.
            self._tidied = True
            for folder in self.workdir.parent.iterdir():
                if folder != self.workdir:
                    shutil.rmtree(folder, ignore_errors=True)

    def _take_shard(self, event: dict[str, Any]) -> None:
        outputs.store_shard(self.claim, self.run, self.workdir, event)

    def _take_matches(self, event: dict[str, Any]) -> None:
        with state.held(self.claim):
            correspond_outputs.write_matches(self.run, event["set"], event["rows"])

    def _take_gallery(self, event: dict[str, Any]) -> None:
        with state.held(self.claim):
            correspond_outputs.write_gallery(self.run, event)

    def _take_predictions(self, event: dict[str, Any]) -> None:
        if self.run.kind == Run.Kind.TRAIN:
            self._predictions += event["rows"]
            return
        with state.held(self.claim):
            classifier = self._classifier_of(event)
            if classifier is not None:
                outputs.write_predictions(classifier, event["rows"])

    def _take_scores(self, event: dict[str, Any]) -> None:
        if self.run.kind == Run.Kind.TRAIN:
            self._scores.append((event["part"], event["rows"]))
            return
        with state.held(self.claim):
            if "set" in event:
                # The child knows images, not parts of a partition.
                outputs.write_scores_of_maps(self.run, event["set"], self.run.recipe["part"], event["rows"])
                return
            classifier = self._classifier_of(event)
            if classifier is not None:
                part = event.get("part") or self.run.recipe["part"]
                outputs.write_scores(self.run, classifier, part, event["rows"])

    def _classifier_of(self, event: dict[str, Any]) -> Classifier | None:
        """Whom the event is about; None where a report's classifier was deleted while it was looked at."""
        if "classifier" not in event:
            assert self.run.classifier is not None, "only a report has several, and names them"
            return self.run.classifier
        return self.run.classifiers.filter(uuid=event["classifier"]).first()
