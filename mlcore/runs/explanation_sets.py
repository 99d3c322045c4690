"""Which set of explanations a run adds to: all that decides a map goes into the set's hash."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from mlcore.catalogue import METHODS
from mlcore.models import ExplanationSet, Run
from mlcore.runs.start import TRANSFORM

ATTRIBUTION = Path(__file__).resolve().parent.parent / "attribution"


@lru_cache(maxsize=1)
def code_version() -> str:
    """A hash of the attribution room's sources: maps made by other code are other maps."""
    sources = b"".join(path.name.encode() + path.read_bytes() for path in sorted(ATTRIBUTION.glob("*.py")))
    return hashlib.sha256(sources).hexdigest()[:16]


def set_of(run: Run) -> ExplanationSet:
    """The set that the run's recipe, classifier and images decide; made where it is new."""
    recipe, classifier = run.recipe, run.classifier
    assert classifier is not None, "an explanation run is refused without a classifier"
    given = recipe["target"] == ExplanationSet.Target.GIVEN
    told = {
        "layer": recipe.get("layer") or "",
        "preset": recipe.get("preset") or "default",
        "options": {
            field.name: recipe[field.name]
            for field in METHODS[recipe["method"]].fields
            if field.name not in ("layer", "preset") and field.name in recipe
        },
        "transform": {key: recipe[key] for key in TRANSFORM},
        "method": recipe["method"],
        "target": recipe["target"],
        "target_class": recipe["target_class"] if given else None,
        "code_version": code_version(),
    }
    decided = told | {
        "weights": classifier.sha256,
        # Two rows may share their weights; each has maps of its own, which its pages and studies show.
        "classifier": str(classifier.uuid),
        "image_set": str(run.image_set.uuid),
        "padding": classifier.padding,
        "precision": recipe.get("mixed_precision", "no"),
    }
    digest = hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()
    made, _ = ExplanationSet.objects.get_or_create(
        hash=digest,
        defaults={"classifier": classifier, "image_set": run.image_set, "owner": run.owner} | told,
    )
    return made
