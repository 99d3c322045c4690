"""A team study's answers as rows in memory, and what is known of its classifier."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from annotation.correctness import correctness
from annotation.models import Judgement, Stimulus, Study
from annotation.statistics import table
from mlcore.models import Classifier, ImageLabel, Prediction
from mlcore.runs.manifest import LABEL_SOURCE

ACCEPT, CONFIDENCE = "accept", "confidence"
ONE_CONDITION = "all answers"
PIECE = 2000
_FIELDS = (
    "pk", "duration_ms", "assignment__participant", "assignment__trial", "assignment__trial__image",
    "assignment__trial__context", "assignment__trial__arm__name",
)  # fmt: skip


@dataclass(frozen=True)
class Decision:
    """One answer. `ai_right` is None where nobody said what the picture shows; such answers have no accuracy."""

    person: int
    condition: str
    ai_right: bool | None
    accepted: bool
    milliseconds: int | None = None
    confidence: float | None = None

    @property
    def correct(self) -> bool | None:
        return None if self.ai_right is None else self.accepted == self.ai_right


def classifier_of(study: Study) -> Classifier | None:
    """The one classifier whose answers the study shows; None before it shows an explanation."""
    shown = Stimulus.objects.filter(trial__study=study, explanation__isnull=False).order_by("pk")
    first = shown.select_related("explanation__set__classifier").first()
    return first.explanation.set.classifier if first is not None and first.explanation is not None else None


def accuracy_of(classifier: Classifier | None, study: Study) -> tuple[float | None, int]:
    """How often the classifier is right over all its predictions in the study's image set, and how many those are."""
    if classifier is None:
        return None, 0
    told = Prediction.objects.filter(classifier=classifier, image__image_set=study.image_set_id)
    right = correctness(classifier, told.order_by("pk").values_list("image", flat=True))
    return (fmean(right.values()) if right else None), len(right)


def named_indices(study: Study, classifier: Classifier | None, name: str) -> set[int]:
    """Indices of the classes that are called so: what the page said, as labels say it. A name may stand twice."""
    classes = (classifier.classes if classifier else None) or study.image_set.classes
    return {index for index, one in enumerate(classes) if str(one) == name}


def right_of(study: Study, said: Iterable[tuple[int, int, str | None]]) -> dict[int, bool]:
    """Trial → whether the class that its page names is among its image's labels; `said`: trial, image, class name.

    Trials without a class or whose image has no label are left out. What was shown counts, also where the
    classifier was evaluated anew since.
    """
    classifier = classifier_of(study)
    shown = {trial: (image, name) for trial, image, name in said if name}
    labels: dict[int, set[int]] = defaultdict(set)
    for image, index in ImageLabel.objects.filter(
        image__in={image for image, _ in shown.values()}, source=LABEL_SOURCE
    ).values_list("image", "index"):
        labels[image].add(index)
    indices = {name: named_indices(study, classifier, name) for name in {name for _, name in shown.values()}}
    return {
        trial: bool(indices[name] & labels[image])
        for trial, (image, name) in shown.items()
        if labels.get(image) and indices[name]
    }


def condition_names(study: Study) -> list[str]:
    """The conditions in the order of the arms; one name where there are no arms."""
    return list(study.arms.order_by("position").values_list("name", flat=True)) or [ONE_CONDITION]


def decisions(study: Study, kinds: Sequence[str]) -> Iterator[Decision]:
    """Every counted answer, in the order of the answers, read in pieces of a fixed size."""
    answers, last = table.counted([study], kinds).order_by("pk"), 0
    while rows := list(answers.filter(pk__gt=last).values_list(*_FIELDS)[:PIECE]):
        last = rows[-1][0]
        right = right_of(
            study, ((trial, image, context.get("class_name")) for _, _, _, trial, image, context, _ in rows)
        )
        said = said_in([row[0] for row in rows])
        for answer, milliseconds, person, trial, _, _, arm in rows:
            if ACCEPT in said[answer]:
                yield Decision(
                    person, arm or ONE_CONDITION, right.get(trial), bool(said[answer][ACCEPT]), milliseconds,
                    said[answer].get(CONFIDENCE),
                )  # fmt: skip


def said_in(answers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Answer → what its judgements say: accept, and confidence where it was asked."""
    said: dict[int, dict[str, Any]] = defaultdict(dict)
    judged = Judgement.objects.filter(answer__in=answers, stimulus__isnull=True)
    for answer, question, truth, number in judged.values_list("answer", "question", "truth", "number"):
        said[answer][question] = truth if truth is not None else number
    return said
