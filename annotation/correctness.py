"""Whether a classifier is right about an image: what it predicts against what the image's labels say."""

from collections import defaultdict
from collections.abc import Iterable

from mlcore.models import Classifier, Explanation, ExplanationSet, ImageLabel, Prediction
from mlcore.models.images import LABEL_SOURCE


def correctness(classifier: Classifier, images: Iterable[int]) -> dict[int, bool]:
    """Image id → whether the predicted class is among its labels. Images without a prediction or a label are left out.

    A map of the predicted class tells the prediction too, where no row of its own is kept; an explanation that speaks
    for itself (its data hold a confidence) tells only what its own comparison says.
    """
    wanted = list(images)
    labels: dict[int, set[int]] = defaultdict(set)
    predicted: dict[int, int] = {}
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        for image, index in ImageLabel.objects.filter(image__in=part, source=LABEL_SOURCE).values_list(
            "image", "index"
        ):
            labels[image].add(index)
        told = Explanation.objects.filter(
            set__classifier=classifier, set__target=ExplanationSet.Target.PREDICTED, image__in=part
        ).exclude(data__has_key="confidence")
        predicted |= dict(told.order_by("pk").values_list("image", "target"))
        kept = Prediction.objects.filter(classifier=classifier, image__in=part)
        predicted |= dict(kept.values_list("image", "label"))
    return {image: predicted[image] in labels[image] for image in wanted if image in predicted and labels[image]}
