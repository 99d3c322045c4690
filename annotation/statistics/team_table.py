"""A team study's answers as rows in memory, and what is known of its classifier."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from annotation.models import Judgement, Stimulus, Study, Trial
from annotation.models.studies import Phase
from annotation.statistics import table
from annotation.team_ai import ais_of
from annotation.team_names import places_of
from mlcore.models import Classifier, ImageLabel
from mlcore.models.images import LABEL_SOURCE

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
    image: int = 0

    @property
    def correct(self) -> bool | None:
        return None if self.ai_right is None else self.accepted == self.ai_right


def classifier_of(study: Study) -> Classifier | None:
    """The one classifier whose answers, or those of whose matchers, the study shows; None where there is none."""
    shown = Stimulus.objects.filter(trial__study=study, explanation__isnull=False).order_by("pk")
    first = shown.select_related("explanation__set__classifier").first()
    if first is not None and first.explanation is not None:
        return first.explanation.set.classifier
    return next((ai.classifier for ai in ais_of(study).values()), None)


def right_of(study: Study, said: Iterable[tuple[int, int, str | None]]) -> dict[int, bool]:
    """Trial → whether the class that its page names is among its image's labels; `said`: trial, image, class name.

    Where there is no class, or no label of the image, a main trial's right answer says it (imported ones alone have
    one); other trials are left out. What was shown counts, also where the classifier was evaluated anew since.
    """
    classifier = classifier_of(study)
    told = list(said)
    shown = {trial: (image, name) for trial, image, name in told if name}
    labels: dict[int, set[int]] = defaultdict(set)
    for image, index in ImageLabel.objects.filter(
        image__in={image for image, _ in shown.values()}, source=LABEL_SOURCE
    ).values_list("image", "index"):
        labels[image].add(index)
    classes = study.image_set.classes
    own = (classifier.classes if classifier else None) or classes
    indices = {name: places_of(name, classes, own) for name in {name for _, name in shown.values()}}
    right = {
        trial: bool(indices[name] & labels[image])
        for trial, (image, name) in shown.items()
        if labels.get(image) and indices[name]
    }
    open_still = [trial for trial, _, _ in told if trial not in right]
    said_with_it = Trial.objects.filter(pk__in=open_still, phase=Phase.MAIN, gold__isnull=False)
    for trial, gold in said_with_it.values_list("pk", "gold") if open_still else ():
        answer = gold.get("answer") or {}
        if ACCEPT in answer:
            right[trial] = bool(answer[ACCEPT])
    # A name that is none of the set's classes is not what the picture shows.
    unknown = {trial: False for trial, (image, name) in shown.items() if labels.get(image) and not indices[name]}
    return unknown | right


def condition_names(study: Study) -> list[str]:
    """The conditions in the order of the arms; one name where there are no arms."""
    return list(study.arms.order_by("position").values_list("name", flat=True)) or [ONE_CONDITION]


def decisions(study: Study, kinds: Sequence[str], without: Sequence[str] = ()) -> Iterator[Decision]:
    """Every counted answer, in the order of the answers, read in pieces of a fixed size.

    without: pseudonyms of people who are left out.
    """
    answers, last = table.counted([study], kinds).order_by("pk"), 0
    if without:
        answers = answers.exclude(assignment__participant__pseudonym__in=without)
    while rows := list(answers.filter(pk__gt=last).values_list(*_FIELDS)[:PIECE]):
        last = rows[-1][0]
        right = right_of(
            study, ((trial, image, context.get("class_name")) for _, _, _, trial, image, context, _ in rows)
        )
        said = said_in([row[0] for row in rows])
        for answer, milliseconds, person, trial, image, _, arm in rows:
            if ACCEPT in said[answer]:
                yield Decision(
                    person, arm or ONE_CONDITION, right.get(trial), bool(said[answer][ACCEPT]), milliseconds,
                    said[answer].get(CONFIDENCE), image,
                )  # fmt: skip


def said_in(answers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Answer → what its judgements say: accept, and confidence where it was asked."""
    said: dict[int, dict[str, Any]] = defaultdict(dict)
    judged = Judgement.objects.filter(answer__in=answers, stimulus__isnull=True)
    for answer, question, truth, number in judged.values_list("answer", "question", "truth", "number"):
        said[answer][question] = truth if truth is not None else number
    return said
