"""Before and after: phase 1, phase 2 and the control without maps, figure by figure and image by image."""

import json
from dataclasses import dataclass, field

from mlcore.catalogue import METRICS
from mlcore.models import Classifier, Explanation, ExplanationSet, Image, ImageLabel, Prediction, Run, Score
from mlcore.models.images import LABEL_SOURCE
from mlcore.models.partitions import Part

PART_ORDER = [Part.VALIDATION.value, Part.TEST.value, Part.POOL.value, Part.TRAIN.value]
COLUMNS = ("phase1", "phase2", "control")


@dataclass(frozen=True)
class Figure:
    """One metric on one part, of each classifier; None where it was not measured."""

    part: str
    metric: str
    title: str
    n: int
    phase1: float | None
    phase2: float | None
    control: float | None

    @property
    def gain(self) -> float | None:
        """Phase 2 minus phase 1."""
        return _difference(self.phase2, self.phase1)

    @property
    def gain_over_control(self) -> float | None:
        """Phase 2 minus the control: what the maps did."""
        return _difference(self.phase2, self.control)


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


@dataclass(frozen=True)
class ImageBeforeAfter:
    """One image with the maps of each classifier (None where there is none) and what each says it shows."""

    image: Image
    label: int | None
    phase1: Explanation | None
    phase2: Explanation | None
    control: Explanation | None
    predictions: dict[str, Prediction] = field(default_factory=dict)  # by column


@dataclass(frozen=True)
class BeforeAfter:
    """What the before/after page shows. `missing` says what is not there yet, for the person to start."""

    classifiers: dict[str, Classifier]  # by column: "phase1", "phase2", "control"
    figures: list[Figure]
    images: list[ImageBeforeAfter]
    missing: list[str]


def before_after(
    phase1_run: Run | None, phase2_run: Run, control_run: Run | None = None, *, images: int = 24
) -> BeforeAfter:
    """Compare the classifiers that these runs made, on the partition of phase 2.

    Figures come from the newest score of each (run of its own or evaluation). Images are those that phase 1 and
    phase 2 were both explained on by the same method, at most `images`; phase 1 is the classifier that phase 2
    started from where `phase1_run` is None.
    """
    missing: list[str] = []
    classifiers: dict[str, Classifier] = {}
    for column, run in zip(COLUMNS, (phase1_run, phase2_run, control_run), strict=True):
        made = Classifier.objects.filter(run=run).first() if run is not None else None
        if column == "phase1" and made is None:
            made = phase2_run.classifier
        if made is not None:
            classifiers[column] = made
        elif run is not None:
            missing.append(f"“{run}” is {run.get_state_display()} and has made no classifier yet.")
    figures = _figures(classifiers, phase2_run)
    sets = _sets(classifiers)
    if "phase2" in classifiers and "phase2" not in sets:
        missing.append("No method has explained both phase 1 and phase 2 yet: explain both on the same images.")
    return BeforeAfter(classifiers, figures, _images(classifiers, sets, phase2_run, images), missing)


def _figures(classifiers: dict[str, Classifier], run: Run) -> list[Figure]:
    found: dict[tuple[str, str], dict[str, Score]] = {}
    for column, classifier in classifiers.items():
        # What score runs say of one method's maps is no figure of the classifier.
        own = Score.objects.filter(classifier=classifier, partition=run.partition, explanation_set=None)
        scores = own.order_by("created", "pk")
        for score in scores.defer("per_image"):
            found.setdefault((score.part, score.metric), {})[column] = score  # the newest stays
    order = list(METRICS)

    def place(key: tuple[str, str]) -> tuple[int, int, str]:
        part, metric = key
        return PART_ORDER.index(part), order.index(metric) if metric in METRICS else len(order), metric

    return [
        Figure(
            part,
            metric,
            METRICS[metric].title if metric in METRICS else metric,
            max(score.n for score in found[part, metric].values()),
            **{
                column: found[part, metric][column].value if column in found[part, metric] else None
                for column in COLUMNS
            },
        )
        for part, metric in sorted(found, key=place)
    ]


def _sets(classifiers: dict[str, Classifier]) -> dict[str, ExplanationSet]:
    """The newest way of explaining that phase 1 and phase 2 have in common, and the control's where it has it."""
    ways: dict[str, dict[tuple[object, ...], ExplanationSet]] = {}
    for column, classifier in classifiers.items():
        rows = ExplanationSet.objects.filter(classifier=classifier).order_by("created", "pk")
        ways[column] = {
            (
                row.method,
                row.layer,
                row.preset,
                json.dumps(row.options, sort_keys=True),
                row.target,
                row.target_class,
            ): row
            for row in rows
        }
    common = [way for way in ways.get("phase2", {}) if way in ways.get("phase1", {})]
    if not common:
        return {}
    return {column: sets[common[-1]] for column, sets in ways.items() if common[-1] in sets}


def _images(
    classifiers: dict[str, Classifier], sets: dict[str, ExplanationSet], run: Run, most: int
) -> list[ImageBeforeAfter]:
    if "phase1" not in sets or "phase2" not in sets:
        return []
    both = (
        Image.objects.filter(explanations__set=sets["phase2"])
        .filter(pk__in=Explanation.objects.filter(set=sets["phase1"]).values("image"))
        .order_by("pk")[:most]
    )
    chosen = list(both)
    keys = [image.pk for image in chosen]
    maps = {
        (column, row.image_id): row
        for column, made in sets.items()
        for row in Explanation.objects.filter(set=made, image__in=keys).select_related("set")
    }
    said: dict[int, dict[str, Prediction]] = {}
    for column, classifier in classifiers.items():
        for row in Prediction.objects.filter(classifier=classifier, image__in=keys):
            said.setdefault(row.image_id, {})[column] = row
    labels = dict(
        ImageLabel.objects.filter(image__in=keys, source=LABEL_SOURCE).order_by("-index").values_list("image", "index")
    )
    return [
        ImageBeforeAfter(
            image=image,
            label=labels.get(image.pk),
            phase1=maps.get(("phase1", image.pk)),
            phase2=maps.get(("phase2", image.pk)),
            control=maps.get(("control", image.pk)),
            predictions=said.get(image.pk, {}),
        )
        for image in chosen
    ]
