"""The whole loop in one call: train, explain, ask, fine-tune on the answers, compare with a control.

`manage.py loop` and `manage.py demo` are this function with a progress line. It goes the way that people go by hand:
runs by `mlcore.runs`, studies by `publishing`, answers by scripted annotators through `simulation`, supervision by
`feedback`. Nothing here knows a shortcut; whatever it reports, pages show too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from annotation import feedback, publishing, simulation
from annotation.models import Study
from mlcore.exchange.scripted import ErrorRates
from mlcore.models import Classifier, ExplanationSet, Image, ImageSet, Partition, Run, Score
from mlcore.models.partitions import Part
from mlcore.runs.perform import perform
from mlcore.runs.start import start_run

# Says how far a stage is: its title and a share in [0, 1].
Report = Callable[[str, float], None]

METRICS = ("accuracy", "attention_iou_50", "pointing")


class LoopFailed(Exception):
    """A run of the loop did not succeed; the sentence is the run's own reason."""


@dataclass(frozen=True)
class LoopPlan:
    """What is trained on and how. `phase1` and `phase2` hold recipe options that differ from their defaults."""

    name: str
    image_set: ImageSet
    partition: Partition
    owner: Any
    phase1: Mapping[str, Any]
    phase2: Mapping[str, Any]
    start: Classifier | None = None
    drawn: int = 200
    people: int = 1
    rates: ErrorRates = field(default_factory=ErrorRates)
    seed: int = 0
    reuse: bool = False  # go on with finished runs and studies of the same names


@dataclass(frozen=True)
class LoopResult:
    """The runs and studies of one loop, and the test scores of its three classifiers by name and metric."""

    seed: int
    phase1: Run
    explanations: ExplanationSet
    ratings: Study
    drawings: Study
    phase2: Run
    control: Run
    scores: dict[str, dict[str, float | None]]


def run_loop(plan: LoopPlan, report: Report) -> LoopResult:
    """Raises LoopFailed with the reason of the run that failed, RunRefused or StudyRefused with theirs."""
    phase1 = run_of(plan, "Phase 1: training", report, f"{plan.name}: phase 1", "train", dict(plan.phase1), plan.start)
    before = phase1.made_classifier
    explained = run_of(
        plan,
        "Explaining the annotation pool",
        report,
        f"{plan.name}: maps of phase 1",
        "explain",
        {"part": Part.POOL.value},
        before,
    )
    explanations = explained.explanation_set
    if explanations is None:
        raise LoopFailed(f"{explained.name}: the maps of this run were deleted.")
    ratings, drawings = publish_studies(plan, explanations)
    answer(plan, ratings, drawings, report)
    phase2, control = _phase2(plan, ratings, drawings)
    perform_here(phase2, "Phase 2: fine-tuning on the answers", report)
    perform_here(control, "Control: fine-tuning without maps", report)
    scores = {
        name: _test_scores(plan, run, f"Final evaluation: {name}", report)
        for name, run in (("phase 1", phase1), ("control", control), ("phase 2", phase2))
    }
    return LoopResult(plan.seed, phase1, explanations, ratings, drawings, phase2, control, scores)


def publish_studies(plan: LoopPlan, explanations: ExplanationSet) -> tuple[Study, Study]:
    """A reasonability and a map-drawing study over the pool's images, open to everyone, both live."""
    images = pool_images(plan)
    studies = []
    for kind, title in (("reasonability", "Is the focus reasonable?"), ("map_drawing", "What should it look at?")):
        known = Study.objects.filter(kind=kind, name=f"{plan.name}: {title}", image_set=plan.image_set).first()
        if plan.reuse and known is not None and known.state != Study.State.DRAFT:
            studies.append(known)
            continue
        study = publishing.create_study(
            kind=kind,
            name=f"{plan.name}: {title}",
            owner=plan.owner,
            image_set=plan.image_set,
            images=images,
            explanation_sets=[explanations],
            answers_per_trial=None,
        )
        publishing.publish(study, plan.owner)
        studies.append(study)
    return studies[0], studies[1]


def pool_images(plan: LoopPlan) -> list[Image]:
    """The first `drawn` images of the annotation pool, in the partition's own order."""
    members = plan.partition.members.filter(part=Part.POOL).select_related("image").order_by("id")
    return [member.image for member in members[: plan.drawn]]


def answer(plan: LoopPlan, ratings: Study, drawings: Study, report: Report) -> None:
    """Scripted annotators, named as such, answer both studies through the same functions as people."""
    for study, title in ((ratings, "Scripted annotators rate"), (drawings, "Scripted annotators draw")):
        simulation.simulate(
            study, people=plan.people, seed=plan.seed, rates=plan.rates, progress=counted(report, title)
        )


def counted(report: Report, title: str) -> Callable[[int, int], None]:
    return lambda done, total: report(title, done / max(total, 1))


def _phase2(plan: LoopPlan, ratings: Study, drawings: Study) -> tuple[Run, Run]:
    name = f"{plan.name}: phase 2"
    known = finished(plan, name, Run.Kind.TRAIN) if plan.reuse else None
    if known is not None and known.control is not None:
        return known, known.control
    return feedback.start_phase2(
        ratings,
        plan.owner,
        drawings=[drawings],
        name=name,
        recipe=dict(plan.phase2),
        kinds=("human", "simulated"),
        seed=plan.seed,
        enqueue=False,
    )


def _test_scores(plan: LoopPlan, run: Run, title: str, report: Report) -> dict[str, float | None]:
    """One logged look at the test part, after every choice has been made on the validation part."""
    recipe = {"part": Part.TEST.value}
    evaluation = run_of(plan, title, report, f"{run.name}: test", "evaluate", recipe, run.made_classifier)
    found = dict(Score.objects.filter(run=evaluation, part=Part.TEST).values_list("metric", "value"))
    return {metric: found.get(metric) for metric in METRICS}


def finished(plan: LoopPlan, name: str, kind: str) -> Run | None:
    runs = Run.objects.filter(name=name, kind=kind, partition=plan.partition, state=Run.State.SUCCEEDED)
    return runs.order_by("-created").first()


def run_of(
    plan: LoopPlan,
    title: str,
    report: Report,
    name: str,
    kind: str,
    recipe: dict[str, Any],
    classifier: Classifier | None,
) -> Run:
    """A run of this kind, performed here and now; with `reuse` a finished one of the name is taken."""
    known = finished(plan, name, kind) if plan.reuse else None
    if known is not None:
        return known
    run = start_run(
        kind=kind,
        name=name,
        owner=plan.owner,
        image_set=plan.image_set,
        partition=plan.partition,
        classifier=classifier,
        recipe=recipe,
        seed=plan.seed,
        enqueue=False,
    )
    perform_here(run, title, report)
    return run


def perform_here(run: Run, title: str, report: Report) -> Run:
    """Performs the run in this process's own child, with its progress. Raises LoopFailed with the run's reason."""

    def heard(event: dict[str, Any]) -> None:
        if event.get("event") == "progress" and event.get("total"):
            report(title, event["step"] / event["total"])

    if run.state == Run.State.SUCCEEDED:
        return run
    report(title, 0.0)
    perform(run.uuid, worker_name="command line", on_event=heard)
    run.refresh_from_db()
    if run.state != Run.State.SUCCEEDED:
        raise LoopFailed(f"{run.name}: {run.reason or run.get_state_display()}")
    report(title, 1.0)
    return run
