"""What the form of a report lists: classifiers of exactly the images' classes, methods, and metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

from harmony.researcher import owned
from mlcore.admin import run_choices
from mlcore.admin.run_choices import Block, Judged, Option
from mlcore.catalogue.recipes import chosen
from mlcore.models import AttentionModule, Box, Classifier, ImageSet, Mask

OFFERED = 300
NONE_FITS = "No classifier has exactly the classes of these images. Train one on them, or import one, first."


def offered(user: Any, image_set: ImageSet | None) -> list[Classifier]:
    """Classifiers that can be compared on these images, newest first."""
    if image_set is None:
        return []
    rows = owned(Classifier.objects.all(), user)[:OFFERED]
    return [row for row in rows if row.classes == image_set.classes and row.weights]


def ticked(found: Sequence[Classifier], data: Mapping[str, Any]) -> list[Classifier]:
    """Those of them that are chosen, in the order in which they were named."""
    by_key = {str(row.pk): row for row in found}
    return [by_key[key] for key in run_choices.ticked(data, "classifiers") or () if key in by_key]


def blocks(
    user: Any, image_set: ImageSet | None, data: Mapping[str, Any], errors: Mapping[str, str], picked: list[Classifier]
) -> list[Block]:
    """Classifiers, methods and metrics to tick. A method with a trained attention is open where each has one."""
    methods = run_choices.methods_block(
        data, chosen("report", data, "methods"), errors.get("methods", ""), _attended(picked)
    )
    # Baselines are always there; and a report compares with nobody's maps.
    methods.groups = methods.groups[:1]
    judged = Judged(masks=_has_objects(image_set))
    metrics = run_choices.metrics_block(judged, chosen("report", data, "metrics"), errors.get("metrics", ""))
    metrics.groups = [(title, options) for title, options in metrics.groups if title != "Against people's maps"]
    return [_classifiers(offered(user, image_set), picked, errors.get("classifiers", "")), methods, metrics]


def _classifiers(found: Sequence[Classifier], picked: Sequence[Classifier], error: str) -> Block:
    options = [
        Option(str(row.pk), row.name, "", f"{row.architecture} · {row.created:%Y-%m-%d}", row in picked)
        for row in found
    ]  # fmt: skip
    return Block("classifiers", "Classifiers", [("", options)], error, NONE_FITS)


def _attended(picked: Sequence[Classifier]) -> set[str]:
    rows = AttentionModule.objects.filter(classifier__in=[row.pk for row in picked]) if picked else ()
    having: dict[str, set[int]] = {}
    for row in rows:
        having.setdefault(row.kind, set()).add(row.classifier_id)
    return {kind for kind, classifiers in having.items() if len(classifiers) == len(picked)}


def _has_objects(image_set: ImageSet | None) -> bool:
    if image_set is None:
        return False
    return any(model.objects.filter(image__image_set=image_set).exists() for model in (Mask, Box))
