"""Whose answers a condition of a team study names, and how often they are right.

The AI of a condition is a classifier's head, or an explanation set that speaks for itself: a matcher, whose vote over
the neighbours that it shows is an answer of its own, with a confidence (`Explanation.data["confidence"]`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from annotation.errors import StudyRefused
from annotation.making import groups_of
from annotation.models import Study
from annotation.studies.trials import Group
from annotation.team_names import CONFIDENCE, places_of, speaks
from mlcore.catalogue import MATCHERS
from mlcore.models import Classifier, Explanation, ExplanationSet, ImageLabel, ImageSet, Prediction
from mlcore.models.images import LABEL_SOURCE
from mlcore.runs.correspond_sets import classes_said

PIECE = 500


@dataclass(frozen=True)
class AI:
    """A classifier's head, or the vote of one of its matchers (`speaker`)."""

    classifier: Classifier
    speaker: ExplanationSet | None = None

    @property
    def key(self) -> tuple[int, int]:
        """The same for the same AI."""
        return self.classifier.pk, self.speaker.pk if self.speaker is not None else 0

    @property
    def title(self) -> str:
        if self.speaker is None:
            return f"{self.classifier}, its head"
        spec = MATCHERS.get(self.speaker.method)
        return f"{self.classifier}, {spec.title if spec else self.speaker.method.replace('_', ' ')}"


@dataclass(frozen=True)
class Said:
    """What an AI says of an image whose labels are known; confidence None: nobody kept it."""

    right: bool
    confidence: float | None


def ai_of(sets: Sequence[ExplanationSet], speaker: ExplanationSet | None, fallback: Classifier | None) -> AI | None:
    """The AI of a condition with these sets; without any, `speaker`'s, or the head of `fallback`."""
    voice = sets[0] if sets else speaker
    if voice is None:
        return AI(fallback) if fallback is not None else None
    return AI(voice.classifier, voice) if speaks(voice) else AI(voice.classifier)


def ais_of_groups(groups: Sequence[Group]) -> dict[str, AI | None]:
    """The name of each condition → its AI."""
    shown = [item for group in groups for item in group.needs]
    fallback = shown[0].classifier if shown else None
    return {group.name: ai_of(group.sets, group.speaker, fallback) for group in groups}


def ais_of(study: Study, unnamed: str = "") -> dict[str, AI]:
    """The name of each condition of a study → its AI; `unnamed` stands for the one without a name.

    Conditions whose sets are gone, and those of studies that came without any, are not in it.
    """
    try:
        groups = groups_of(study)
    except StudyRefused:
        return {}
    return {name or unnamed: ai for name, ai in ais_of_groups(groups).items() if ai is not None}


def answers_of(ai: AI, image_set: ImageSet, images: Iterable[int] | None = None) -> dict[int, Said]:
    """Image id → what the AI says of it, for the images of the set that it has an answer for and that have a label.

    images: only these. An answer is right where its class, by its name, is among the image's labels.
    """
    told: dict[int, tuple[int, float | None]] = {}
    if ai.speaker is None:
        rows: Any = Prediction.objects.filter(classifier=ai.classifier, image__image_set=image_set)
        told = _explained(ai.classifier, image_set)
        told |= {image: (label, sure) for image, label, sure in rows.values_list("image", "label", "confidence")}
    else:
        rows = Explanation.objects.filter(set=ai.speaker, image__image_set=image_set)
        for image, label, sure in rows.values_list("image", "target", f"data__{CONFIDENCE}"):
            told[image] = (label, None if sure is None else float(sure))
    if images is not None:
        wanted = set(images)
        told = {image: answer for image, answer in told.items() if image in wanted}
    labels = labels_of(list(told))
    names = [str(name) for name in classes_of(ai, image_set)]
    meant = {
        label: places_of(names[label], image_set.classes, names) if label < len(names) else set()
        for label in {label for label, _ in told.values()}
    }
    return {
        image: Said(bool(meant[label] & labels[image]), sure)
        for image, (label, sure) in sorted(told.items())
        if image in labels
    }


def classes_of(ai: AI, image_set: ImageSet) -> Sequence[str]:
    """The names that the AI's answers are places in."""
    own = classes_said(ai.speaker) if ai.speaker is not None else ai.classifier.classes
    return own or image_set.classes


def labels_of(images: Sequence[int]) -> Mapping[int, set[int]]:
    """Image id → the indices of its classes; images without a label are not in it."""
    found: dict[int, set[int]] = defaultdict(set)
    for start in range(0, len(images), PIECE):
        rows = ImageLabel.objects.filter(image__in=images[start : start + PIECE], source=LABEL_SOURCE)
        for image, index in rows.values_list("image", "index"):
            found[image].add(index)
    return found


def accuracy(said: Mapping[int, Said]) -> float | None:
    return fmean(one.right for one in said.values()) if said else None


def _explained(classifier: Classifier, image_set: ImageSet) -> dict[int, tuple[int, float | None]]:
    """Maps of the predicted class tell the head's answers where no prediction is kept."""
    maps = Explanation.objects.filter(
        set__classifier=classifier, set__target=ExplanationSet.Target.PREDICTED, image__image_set=image_set
    ).exclude(data__has_key=CONFIDENCE)
    return {image: (label, None) for image, label in maps.order_by("pk").values_list("image", "target")}
