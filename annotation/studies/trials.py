"""Trials of a new study: one an image, with one stimulus for each explanation set, written in batches."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotation.errors import StudyRefused
from annotation.models import Stimulus, Study, Trial
from annotation.models.studies import RANDOM_KEY_BITS
from mlcore.models import Explanation, ExplanationSet, Image, ImageLabel, Prediction
from mlcore.runs.manifest import LABEL_SOURCE

BATCH = 500


@dataclass
class Built:
    """How many trials there are, and why images were left out: reason → number."""

    trials: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def build(
    study: Study, *, images: Iterable[Image], explanation_sets: Sequence[ExplanationSet], settings: Mapping[str, Any]
) -> Built:
    """Write the trials. The order of trials follows from the study's seed and the images alone.

    Raises StudyRefused where an image has no map in one of the sets, or no class to show.
    """
    from annotation.studies import kind_of

    kind = kind_of(study)
    shown_sets = explanation_sets if kind.maps_at_least else []
    conditions = condition_names(shown_sets)
    built = Built()
    for batch in in_batches(images, BATCH):
        facts = _Facts.of(study, batch, explanation_sets, settings.get("shown_class", "none"))
        trials, stimuli = [], []
        for image in batch:
            maps = [facts.map_of(image, item) for item in shown_sets]
            if any(found.status == Explanation.Status.NONFINITE for found in maps):
                built.left_out["a map that is not finite"] += 1
                continue
            trial = Trial(
                study=study,
                image=image,
                context=facts.context(image),
                random_key=random.Random(f"{study.seed}/{image.sha256}").getrandbits(RANDOM_KEY_BITS),
                claims_left=study.answers_per_trial,
            )
            trials.append(trial)
            stimuli += [
                Stimulus(trial=trial, slot=slot, condition=condition, explanation=found)
                for slot, (condition, found) in enumerate(zip(conditions, maps, strict=True))
            ]
        Trial.objects.bulk_create(trials)
        Stimulus.objects.bulk_create(stimuli)
        built.trials += len(trials)
    return built


def condition_names(sets: Sequence[ExplanationSet]) -> list[str]:
    """A readable name for each set, different within the study. Never shown to annotators."""
    plain = [item.classifier.name for item in sets]
    if len(set(plain)) < len(plain):
        plain = [f"{item.classifier.name[:40]} · {item.method[:20]}" for item in sets]
    cut = [name[:76] for name in plain]
    seen: Counter[str] = Counter()
    names = []
    for name in cut:
        seen[name] += 1
        names.append(name if cut.count(name) == 1 else f"{name} {seen[name]}")
    return names


def in_batches(items: Iterable[Image], size: int) -> Iterator[list[Image]]:
    batch: list[Image] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


@dataclass(frozen=True)
class _Facts:
    """What is known of a batch of images: their maps and the class that the page names."""

    study: Study
    sets: Sequence[ExplanationSet]
    shown: str
    maps: Mapping[tuple[int, int], Explanation]
    labels: Mapping[int, list[int]]
    predictions: Mapping[tuple[int, int], int]

    @classmethod
    def of(cls, study: Study, images: list[Image], sets: Sequence[ExplanationSet], shown: str) -> "_Facts":
        maps = {
            (found.set_id, found.image_id): found
            for found in Explanation.objects.filter(set__in=sets, image__in=images)
        }
        labels: dict[int, list[int]] = defaultdict(list)
        if shown == "true":
            said = ImageLabel.objects.filter(image__in=images, source=LABEL_SOURCE).order_by("index")
            for image, index in said.values_list("image_id", "index"):
                labels[image].append(index)
        predictions: dict[tuple[int, int], int] = {}
        if shown == "predicted":
            told = Prediction.objects.filter(image__in=images, classifier__in=[item.classifier_id for item in sets])
            predictions = {
                (classifier, image): label
                for classifier, image, label in told.values_list("classifier_id", "image_id", "label")
            }
        return cls(study, sets, shown, maps, labels, predictions)

    def map_of(self, image: Image, item: ExplanationSet) -> Explanation:
        found = self.maps.get((item.pk, image.pk))
        if found is None:
            raise StudyRefused(f"Image {image.name} has no map in “{item}”. Explain it first, or leave it out.")
        return found

    def context(self, image: Image) -> dict[str, Any]:
        """`class_name` is the one name of the whole trial; `class_names` holds one a slot where they differ."""
        if self.shown == "true":
            indices = self.labels.get(image.pk)
            if not indices:
                raise StudyRefused(
                    f"Image {image.name} has no label, so its class cannot be named. Leave it out, or show no class."
                )
            return {"shown": "true", "class_name": ", ".join(_name(self.study.image_set.classes, i) for i in indices)}
        if self.shown == "predicted":
            names = [self._predicted(image, item) for item in self.sets]
            one = names[0] if len(set(names)) == 1 else None
            return {"shown": "predicted", "class_name": one, "class_names": names}
        return {"shown": "none", "class_name": None}

    def _predicted(self, image: Image, item: ExplanationSet) -> str:
        label = self.predictions.get((item.classifier_id, image.pk))
        if label is None and item.target == ExplanationSet.Target.PREDICTED:
            label = self.map_of(image, item).target
        if label is None:
            raise StudyRefused(
                f"“{item.classifier}” has no prediction for image {image.name}. "
                "Evaluate the classifier first, or show the true class."
            )
        return _name(item.classifier.classes or self.study.image_set.classes, label)


def _name(classes: Sequence[str], index: int) -> str:
    return str(classes[index]) if 0 <= index < len(classes) else f"class {index}"
