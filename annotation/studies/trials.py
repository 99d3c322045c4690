"""Trials of a study: one for each image and condition, with a stimulus for each explanation, written in batches."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotation.errors import StudyRefused
from annotation.models import Stimulus, Study, Trial
from annotation.models.studies import RANDOM_KEY_BITS, Phase
from annotation.team_names import CONFIDENCE, spoken
from harmony.batches import in_batches
from mlcore.models import Classifier, Explanation, ExplanationSet, Image, ImageLabel, Prediction
from mlcore.models.images import LABEL_SOURCE
from mlcore.runs.correspond_sets import classes_said

BATCH = 500


@dataclass(frozen=True)
class Group:
    """The explanation sets that one trial shows, and the name of the condition that they stand for.

    Where everything stands together in one trial there is one group without a name. A group without sets is the
    condition "no explanation".

    images: the group's own, where its trials show others than those of the study. conditions: what each set is called,
    in their order; empty: by classifier and method. about: what the study keeps of the group beside name and sets.
    speaker: the set that speaks for itself whose answers a group without sets names; None: the classifier's head.
    alone: the page names the class and says nothing of an AI.
    """

    name: str
    sets: tuple[ExplanationSet, ...] = ()
    images: tuple[Image, ...] | None = None
    conditions: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    speaker: ExplanationSet | None = None
    alone: bool = False

    @property
    def needs(self) -> tuple[ExplanationSet, ...]:
        """The sets that have to explain every image of the group."""
        return self.sets or ((self.speaker,) if self.speaker is not None else ())

    def written(self) -> dict[str, Any]:
        """How the study's settings keep it."""
        kept: dict[str, Any] = {"name": self.name, "sets": [str(item.uuid) for item in self.sets]}
        kept |= {"conditions": list(self.conditions)} if self.conditions else {}
        kept |= {"speaker": str(self.speaker.uuid)} if self.speaker is not None else {}
        return dict(self.about) | kept | ({"alone": True} if self.alone else {})


@dataclass
class Built:
    """How many trials there are, of how many images, and why images were left out: reason → number."""

    trials: int = 0
    images: int = 0
    by_group: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def build(
    study: Study,
    *,
    images: Iterable[Image],
    groups: Sequence[Group],
    settings: Mapping[str, Any],
    phase: str = Phase.MAIN,
    block_of: Callable[[Image, int], int] | None = None,
) -> Built:
    """Write the trials: one for each image and group. Their order follows from the study's seed and the images alone.

    An image that one group cannot show is left out of all that show it, so that conditions are compared on the same
    images; groups with images of their own show those.
    Raises StudyRefused where an image has no map in one of the sets, or no class to show.
    """
    maker = Maker(study, groups, settings)
    built = Built()
    for batch, together in _portions(images, groups):
        facts = maker.facts(batch, [group for _, group in together])
        trials, stimuli = [], []
        for image in batch:
            reason = maker.reason_to_leave_out(facts, image)
            if reason:
                built.left_out[reason] += 1
                continue
            built.images += 1
            for index, group in together:
                trial, shown = maker.make(facts, image, group, phase)
                seed = f"{study.seed}/{image.sha256}" + (f"/{group.name}" if group.name else "")
                trial.random_key = random.Random(seed).getrandbits(RANDOM_KEY_BITS)
                trial.block = block_of(image, index) if block_of else 0
                if phase == Phase.MAIN:
                    trial.claims_left = study.answers_per_trial
                trials.append(trial)
                stimuli += shown
                built.by_group[group.name] += 1
        Trial.objects.bulk_create(trials)
        Stimulus.objects.bulk_create(stimuli)
        built.trials += len(trials)
    return built


def _portions(
    images: Iterable[Image], groups: Sequence[Group]
) -> Iterator[tuple[list[Image], list[tuple[int, Group]]]]:
    """Batches of images, each with the groups that show them and their places among all."""
    numbered = list(enumerate(groups))
    shared = [(index, group) for index, group in numbered if group.images is None]
    if shared:
        for batch in in_batches(images, BATCH):
            yield batch, shared
    for index, group in numbered:
        for batch in in_batches(group.images or (), BATCH):
            yield batch, [(index, group)]


class Maker:
    """Trials of a study in memory, from images and groups."""

    def __init__(self, study: Study, groups: Sequence[Group], settings: Mapping[str, Any]) -> None:
        from annotation.studies import kind_of

        self.study, self.groups, self.settings = study, groups, settings
        self.kind = kind_of(study)
        self.arms = {arm.name: arm for arm in study.arms.all()}
        self.sets = list({item.pk: item for group in groups for item in group.needs}.values())
        self.conditions = {group.name: list(group.conditions) or condition_names(group.sets) for group in groups}

    def facts(self, images: list[Image], groups: Sequence[Group] | None = None) -> "_Facts":
        """What the trials of these groups (all, where none are named) say of these images."""
        wanted = self.groups if groups is None else groups
        sets = list({item.pk: item for group in wanted for item in group.needs}.values())
        classifiers = {item.classifier_id: item.classifier for item in self.sets}
        return _Facts.of(self.study, images, sets, str(self.settings.get("shown_class", "none")), classifiers)

    def reason_to_leave_out(self, facts: "_Facts", image: Image) -> str:
        maps = [facts.map_of(image, item) for item in facts.sets] if self.kind.maps_at_most else []
        for found in maps:
            if found.payload not in self.kind.payloads:
                shown = Explanation.Payload(found.payload).label
                raise StudyRefused(f"“{self.kind.title}” cannot show {shown} (“{found.set}”).")
        if any(found.status == Explanation.Status.NONFINITE for found in maps):
            return "a map that is not finite"
        return ""

    def make(self, facts: "_Facts", image: Image, group: Group, phase: str) -> tuple[Trial, list[Stimulus]]:
        """The trial and its stimuli, not saved yet."""
        trial = Trial(
            study=self.study,
            image=image,
            phase=phase,
            arm=self.arms.get(group.name),
            context=facts.context(image, group.needs) if group.needs else facts.head(image, self.sets),
        )
        if group.alone:
            trial.context = {"shown": "predicted", "class_name": trial.context["class_name"], "alone": True}
        conditions = self.conditions[group.name]
        stimuli = [
            Stimulus(trial=trial, slot=slot, condition=condition, explanation=facts.map_of(image, item))
            for slot, (condition, item) in enumerate(zip(conditions, group.sets, strict=True))
        ]
        return trial, stimuli


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


@dataclass(frozen=True)
class _Facts:
    """What is known of a batch of images: their maps and the class that the page names."""

    study: Study
    sets: Sequence[ExplanationSet]
    shown: str
    maps: Mapping[tuple[int, int], Explanation]
    labels: Mapping[int, list[int]]
    predictions: Mapping[tuple[int, int], tuple[int, float]]
    voices: Mapping[int, Sequence[str]]  # set, or minus the classifier → the names that its answers are places in

    @classmethod
    def of(
        cls,
        study: Study,
        images: list[Image],
        sets: Sequence[ExplanationSet],
        shown: str,
        classifiers: Mapping[int, Classifier],
    ) -> "_Facts":
        maps = {
            (found.set_id, found.image_id): found
            for found in Explanation.objects.filter(set__in=sets, image__in=images)
        }
        labels: dict[int, list[int]] = defaultdict(list)
        if shown == "true":
            said = ImageLabel.objects.filter(image__in=images, source=LABEL_SOURCE).order_by("index")
            for image, index in said.values_list("image_id", "index"):
                labels[image].append(index)
        predictions: dict[tuple[int, int], tuple[int, float]] = {}
        if shown == "predicted":
            told = Prediction.objects.filter(image__in=images, classifier__in=list(classifiers))
            predictions = {
                (classifier, image): (label, confidence)
                for classifier, image, label, confidence in told.values_list(
                    "classifier_id", "image_id", "label", "confidence"
                )
            }
        speaking = [item for item in sets if any(speaks_in(maps[key]) for key in maps if key[0] == item.pk)]
        voices: dict[int, Sequence[str]] = {item.pk: classes_said(item) for item in speaking}
        if shown == "predicted":
            known = study.image_set.classes
            voices |= {-pk: spoken(one.classes, known) or known for pk, one in classifiers.items()}
        return cls(study, sets, shown, maps, labels, predictions, voices)

    def map_of(self, image: Image, item: ExplanationSet) -> Explanation:
        found = self.maps.get((item.pk, image.pk))
        if found is None:
            raise StudyRefused(f"Image {image.name} has no map in “{item}”. Explain it first, or leave it out.")
        return found

    def context(self, image: Image, sets: Sequence[ExplanationSet]) -> dict[str, Any]:
        """`class_name` is the one name of the whole trial; `class_names` holds one a slot where they differ.

        `confidence` is what the one classifier gave its answer, where it is known; of an explanation that speaks for
        itself its own answer and its own confidence.
        """
        if self.shown == "true":
            indices = self.labels.get(image.pk)
            if not indices:
                raise StudyRefused(
                    f"Image {image.name} has no label, so its class cannot be named. Leave it out, or show no class."
                )
            return {"shown": "true", "class_name": ", ".join(_name(self.study.image_set.classes, i) for i in indices)}
        if self.shown == "predicted":
            said = [self._said(image, item) for item in sets]
            names = [name for name, _ in said]
            one = names[0] if len(set(names)) == 1 else None
            told: dict[str, Any] = {"shown": "predicted", "class_name": one, "class_names": names}
            if len({item.classifier_id for item in sets}) == 1:
                told["confidence"] = said[0][1]
            return told
        return {"shown": "none", "class_name": None}

    def head(self, image: Image, sets: Sequence[ExplanationSet]) -> dict[str, Any]:
        """The same for a condition without an explanation: what the one classifier of these sets says by itself."""
        if self.shown != "predicted" or not sets:
            return self.context(image, sets)
        classifier = sets[0].classifier
        label, confidence = self.predictions.get((classifier.pk, image.pk)) or (None, None)
        if label is None:
            silent = (self.maps.get((item.pk, image.pk)) for item in sets)
            label = next((found.target for found in silent if found and not speaks_in(found)), None)
        if label is None:
            raise self._unpredicted(image, sets[0])
        name = _name(self.voices[-classifier.pk], label)
        return {"shown": "predicted", "class_name": name, "class_names": [name], "confidence": confidence}

    def _said(self, image: Image, item: ExplanationSet) -> tuple[str, float | None]:
        """The class that is named beside an explanation, and how sure whoever says it is."""
        told = self.predictions.get((item.classifier_id, image.pk))
        label, confidence = told or (None, None)
        own = self.maps.get((item.pk, image.pk)) if item.target == ExplanationSet.Target.PREDICTED else None
        if own is not None and speaks_in(own):
            return _name(self.voices[item.pk], own.target), float(own.data[CONFIDENCE])
        if own is not None and label is None:
            label = own.target
        if label is None:
            raise self._unpredicted(image, item)
        return _name(self.voices[-item.classifier_id], label), confidence

    def _unpredicted(self, image: Image, item: ExplanationSet) -> StudyRefused:
        return StudyRefused(
            f"“{item.classifier}” has no prediction for image {image.name}. "
            "Evaluate the classifier first, or show the true class."
        )


def speaks_in(found: Explanation) -> bool:
    """Whether the explanation brings an answer of its own: its target, with the confidence that lies beside it."""
    return CONFIDENCE in found.data


def _name(classes: Sequence[str], index: int) -> str:
    return str(classes[index]) if 0 <= index < len(classes) else f"class {index}"
