"""The sets that a classification by comparison fills: one a way of comparing, with all that decides its answers."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlcore.catalogue import own_options, upgrade
from mlcore.catalogue.gallery_key import TRANSFORM
from mlcore.catalogue.matchers import MATCHERS, NETWORK
from mlcore.models import ExplanationSet, ImageSet, Run
from mlcore.runs.correspond_images import GALLERY
from mlcore.runs.correspond_networks import needing, network_for
from mlcore.runs.decided_sets import decided_set
from mlcore.runs.job_classifier import JobImpossible
from mlcore.runs.manifest import digest

CODE = Path(__file__).resolve().parent.parent / "correspondence"
# Options of the recipe that decide what every way of comparing says.
DECIDING = ("candidates", "votes", "ties", "index", "neighbours")


@lru_cache(maxsize=1)
def correspondence_version() -> str:
    """A hash of the sources that compare: what was said by other code may be something else."""
    sources = b"".join(
        path.relative_to(CODE).as_posix().encode() + path.read_bytes() for path in sorted(CODE.rglob("*.py"))
    )
    return hashlib.sha256(sources).hexdigest()[:16]


def sets_of(run: Run) -> list[ExplanationSet]:
    """One a matcher, in the recipe's order; made where they are new. Raises JobImpossible for what is gone."""
    recipe = upgrade(run.kind, run.recipe)
    for name in recipe["matchers"]:
        if name not in MATCHERS:
            raise JobImpossible(f"The way of comparing “{name}” is not known here any more.")
    return [_set_of(run, recipe, name) for name in recipe["matchers"]]


def gallery_of(run: Run) -> ImageSet:
    """The images that are compared with."""
    return run.gallery or run.image_set


def classes_said(explained: ExplanationSet) -> list[str]:
    """The names that a set's answers are places in: the classes of the gallery that it compared with, whose images
    voted. Of a set that compared with none: its classifier's."""
    gallery = (explained.options or {}).get("gallery")
    if gallery and str(gallery) != str(explained.image_set.uuid):
        found = ImageSet.objects.filter(uuid=gallery).first()
        return list(found.classes) if found else []
    return list(explained.image_set.classes if gallery else explained.classifier.classes)


def _set_of(run: Run, recipe: dict[str, Any], name: str) -> ExplanationSet:
    classifier = run.classifier
    if classifier is None:
        raise JobImpossible("The classifier of this run was deleted since it was started.")
    own = own_options(recipe, name)
    network: dict[str, Any] = {}
    if needing([name]):
        try:
            row = network_for(classifier, name, str(own.get(NETWORK) or ""))
        except ValueError as error:
            raise JobImpossible(str(error)) from error
        own, network = own | {NETWORK: str(row.uuid)}, {"network": row.sha256}
    told = {
        "layer": recipe["layer"],
        "preset": own.get("preset") or "default",
        "options": {key: value for key, value in own.items() if key != "preset"}
        | {key: recipe[key] for key in DECIDING}
        | {"gallery": str(gallery_of(run).uuid)},
        "transform": {key: recipe[key] for key in TRANSFORM},
        "method": name,
        "target": ExplanationSet.Target.PREDICTED,
        "code_version": correspondence_version(),
    }
    return decided_set(run, classifier, told, {"compared_with": digest({GALLERY: run.manifest[GALLERY]})} | network)
