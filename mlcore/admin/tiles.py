"""A map with what the classifier says of its image and what the label says."""

from collections.abc import Sequence
from typing import Any

from mlcore.models import Explanation, ExplanationSet, ImageLabel, Prediction
from mlcore.runs.correspond_names import same_classes
from mlcore.runs.correspond_sets import classes_said


def of(explained: ExplanationSet, maps: Sequence[Explanation]) -> list[dict[str, Any]]:
    """A tile a map, in a few queries whatever their number."""
    images = [row.image_id for row in maps]
    known = {
        row.image_id: row for row in Prediction.objects.filter(classifier=explained.classifier_id, image__in=images)
    }
    true = labels(images)
    if any(row.payload != Explanation.Payload.MAP for row in maps):
        return _spoken(explained, maps, known, true)
    return [tile(explained, row, known.get(row.image_id), true.get(row.image_id)) for row in maps]


def labels(images: Sequence[int]) -> dict[int, int]:
    """Image → its first label."""
    return dict(ImageLabel.objects.filter(image__in=images).order_by("-id").values_list("image", "index"))


def class_name(classes: Sequence[str], index: int | None) -> str:
    return classes[index] if index is not None and index < len(classes) else ""


def _spoken(
    explained: ExplanationSet, rows: Sequence[Explanation], known: dict[int, Prediction], true: dict[int, int]
) -> list[dict[str, Any]]:
    """Of neighbours and matches: what their own vote says, in the classes of what was compared with."""
    classes, shown = classes_said(explained), explained.image_set.classes
    places = same_classes(shown, classes)
    made = []
    for row in rows:
        label, prediction = true.get(row.image_id), known.get(row.image_id)
        meant = places[label] if label is not None and label < len(places) else None
        sure = row.data.get("confidence")
        if sure is None and prediction is not None and prediction.label == row.target:
            sure = prediction.confidence  # as an import leaves it
        name = class_name(classes, row.target)
        made.append(
            {
                "map": row, "target": name, "said": name, "confidence": sure, "true": class_name(shown, label),
                "wrong": label is not None and row.target != meant,
            }
        )  # fmt: skip
    return made


def tile(
    explained: ExplanationSet, row: Explanation, prediction: Prediction | None, label: int | None
) -> dict[str, Any]:
    """What stands below one map."""
    classes = explained.classifier.classes
    said = prediction.label if prediction else None
    if said is None and explained.target == ExplanationSet.Target.PREDICTED:
        said = row.target  # the class that is explained is the one that is predicted
    return {
        "map": row,
        "target": class_name(classes, row.target),
        "said": class_name(classes, said),
        "confidence": prediction.confidence if prediction else None,
        "true": class_name(classes, label),
        "wrong": said is not None and label is not None and said != label,
    }
