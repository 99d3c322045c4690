"""The demonstration's further studies: a blind choice between two maps, and a human–AI team, each with its phases."""

from typing import Any

import numpy as np

from annotation import publishing
from annotation.models import Study, Trial
from annotation.simulation import true_mask
from annotation.studies.trials import Group
from mlcore.exchange.render import scaled_map
from mlcore.models import Explanation, ExplanationSet, Image

TITLES = ("which map fits better?", "is the AI right?")
PRACTICE = 2
EACH = 12  # main trials a person

_CONSENT = """Your answers are kept under a made-up name and used to train and to study image classifiers.

You can stop at any time. Whoever runs this page can delete your answers when you ask for it."""

_MAPS = """A classifier was trained twice. Each time, a **map** shows what it looked at: the brighter a place, the
more it counted.

You see the picture and both maps. Choose the one that fits better, or *neither*.

* `1` or `←` the left map, `3` or `→` the right map, `2` or `↓` neither
* hold `O` to see the picture alone"""

_TEAM = """An AI names the shape on a picture. Sometimes it is wrong, because it was distracted.

Say whether it is right. On some pictures you also see what it looked at."""


def publish_demo_studies(owner: Any, name: str, before: ExplanationSet, after: ExplanationSet) -> list[Study]:
    """Both studies, live; those that are there already stay as they are."""
    images = list(
        Image.objects.filter(explanations__set=before).filter(explanations__set=after).order_by("pk").distinct()[:60]
    )
    return [_preference(owner, name, images, before, after), _team(owner, name, images, before)]


def are_live(name: str) -> bool:
    """Whether both have been published, whatever became of them."""
    studies = Study.objects.filter(name__in=[f"{name}: {title}" for title in TITLES])
    return studies.exclude(state=Study.State.DRAFT).values("name").distinct().count() == len(TITLES)


def _plan(title: str, text: str) -> dict[str, Any]:
    return {
        "introduction": [{"title": title, "text": text}],
        "exit": [
            {"name": "sure", "kind": "scale", "question": "How sure were you, over all?", "required": True},
            {"name": "remarks", "kind": "text", "question": "Is there anything to tell us?", "required": False},
        ],
        "completion": {"text": "Thank you. Your answers will show whether the second training helped."},
    }


def _preference(owner: Any, name: str, images: list[Image], before: ExplanationSet, after: ExplanationSet) -> Study:
    title = f"{name}: {TITLES[0]}"
    study = _known(title) or publishing.create_study(
        kind="preference",
        name=title,
        title="Which map fits better?",
        owner=owner,
        image_set=before.image_set,
        images=images[PRACTICE:],
        groups=[Group("before and after", (before, after))],
        conditions="within",
        answers_per_trial=None,
        trials_per_person=EACH,
        settings={"shown_class": "true"},
        consent=_CONSENT,
        plan=_plan("Two maps of one picture", _MAPS),
    )
    if study.state == Study.State.DRAFT:
        if not Trial.objects.filter(study=study, phase="practice").exists():
            items = [
                publishing.TrialItem(image, gold={"choice": _better(image, before, after)}, feedback=_WHY)
                for image in images[:PRACTICE]
            ]
            publishing.add_trials(study, owner, "practice", items)
        publishing.publish(study, owner)
    return study


_WHY = "What counts is how much of the bright part lies on the shape."


def _better(image: Image, before: ExplanationSet, after: ExplanationSet) -> str:
    mask = true_mask(image)
    shares = []
    for item in (before, after):
        values = scaled_map(Explanation.objects.get(set=item, image=image), (image.width, image.height))
        shares.append(float(values[mask].sum() / max(float(np.sum(values)), 1e-12)))
    return "neither" if abs(shares[1] - shares[0]) <= 0.05 else "second" if shares[1] > shares[0] else "first"


def _team(owner: Any, name: str, images: list[Image], explained: ExplanationSet) -> Study:
    title = f"{name}: {TITLES[1]}"
    study = _known(title) or publishing.create_study(
        kind="team",
        name=title,
        title="Is the AI right?",
        owner=owner,
        image_set=explained.image_set,
        images=images[PRACTICE:],
        groups=[Group("no explanation"), Group("heat map", (explained,))],
        conditions="within",
        answers_per_trial=None,
        trials_per_person=EACH,
        plan=_plan("You and an AI", _TEAM),
    )
    if study.state == Study.State.DRAFT:
        if not Trial.objects.filter(study=study, phase="practice").exists():
            items = [publishing.TrialItem(image, group="heat map") for image in images[:PRACTICE]]
            publishing.add_trials(study, owner, "practice", items)
        publishing.publish(study, owner)
    return study


def _known(name: str) -> Study | None:
    return Study.objects.filter(name=name).order_by("-pk").first()
