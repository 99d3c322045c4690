"""Explanation sets that speak for themselves: each explanation's target is a vote of its own, with a confidence."""

from collections.abc import Mapping, Sequence

from mlcore.models import Classifier, ExplanationSet, Image, Prediction
from tests.annotation import factories as make


def speaking(
    images: Sequence[Image],
    votes: Mapping[int, tuple[int, float]] | Sequence[tuple[int, float]],
    classifier: Classifier,
    method: str = "knn",
    payload: str = "neighbours",
) -> ExplanationSet:
    """A matcher's set: of each image the class that its vote says and the share of votes for it."""
    before = list(Prediction.objects.filter(classifier=classifier).values("pk", "label", "confidence"))
    item = make.compare(images, payload=payload, classifier=classifier, method=method, options={"votes": str(votes)})
    # What the factory's rows said is not what the head says.
    Prediction.objects.filter(classifier=classifier).exclude(pk__in=[row["pk"] for row in before]).delete()
    for row in before:
        Prediction.objects.filter(pk=row["pk"]).update(label=row["label"], confidence=row["confidence"])
    for place, image in enumerate(images):
        label, confidence = votes[image.pk] if isinstance(votes, Mapping) else votes[place]
        found = item.explanations.get(image=image)
        found.target, found.data = label, found.data | {"confidence": confidence}
        found.save()
    return item


def predicted(classifier: Classifier, images: Sequence[Image], said: Sequence[tuple[int, float]]) -> None:
    """What the classifier's head says of these images."""
    Prediction.objects.bulk_create(
        Prediction(classifier=classifier, image=image, label=label, confidence=confidence)
        for image, (label, confidence) in zip(images, said, strict=True)
    )
