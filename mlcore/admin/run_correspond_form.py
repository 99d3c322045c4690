"""What the form of a classification by comparison lists: ways of comparing, and the images that are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harmony.researcher import owned
from mlcore.admin.run_choices import Block, Option
from mlcore.catalogue.matchers import MATCHERS, NETWORK
from mlcore.catalogue.recipe_fields import INPUT
from mlcore.catalogue.recipes import chosen
from mlcore.models import Classifier, ImageSet
from mlcore.runs.correspond_features import estimate, layer_of

KIND = "correspond"
COMMON = {
    "part", "gallery_part", "head", "candidates", "votes", "ties", "label_source", "classes", "drop_duplicates",
    "drop_grey", "drop_small",
}  # fmt: skip
WITHOUT = "This classifier has no trained correspondence network yet: train one on it first."


def matchers_block(classifier: Classifier | None, data: Mapping[str, Any], error: str) -> Block:
    """Ways of comparing; one that needs a trained network is open where the classifier has one."""
    trained = classifier is not None and classifier.correspondence_networks.exists()
    ticked = chosen(KIND, data)
    options = [
        Option(
            spec.name, spec.title, spec.summary, spec.reference, spec.name in ticked,
            WITHOUT if NETWORK in spec.needs and not trained else "",
        )
        for spec in MATCHERS.values()
    ]  # fmt: skip
    return Block("matchers", "Ways of comparing", [("", options)], error)


def galleries(user: Any, image_set: ImageSet | None) -> list[ImageSet]:
    """Other sets of the same owner, newest first; the queries' own is the empty choice."""
    if image_set is None:
        return []
    rows = owned(ImageSet.objects.filter(owner=image_set.owner_id), user).exclude(pk=image_set.pk)
    return list(rows[:200])


def room(objects: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """What the features take on the disk, in a sentence; empty where it is not known yet."""
    classifier, image_set, gallery = objects["classifier"], objects["image_set"], objects["gallery"]
    if classifier is None or image_set is None:
        return ""
    known = classifier.transform or {}
    read = {field.name: data.get(field.name) or known.get(field.name, field.default) for field in INPUT}
    sets = {one: one.images.count() for one in dict.fromkeys((image_set, gallery)) if one is not None}
    try:
        read["image_size"] = int(read["image_size"])
        size = estimate(classifier, layer_of(classifier, str(data.get("layer") or "")), read, sets)
    except ValueError:  # told at its field when the run is started
        return ""
    return "" if size is None else size.sentence
