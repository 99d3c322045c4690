"""What attribution pairs are made from: both classifiers' maps of a part, made in one way; and what is missing."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, QuerySet

from mlcore.catalogue import METRICS
from mlcore.catalogue.tuning import metric_of, tunes
from mlcore.exchange.pair_scores import plain_metric, scores_of
from mlcore.exchange.pairs import SAME
from mlcore.models import Classifier, Explanation, ExplanationSet, Image, ImageSet, Partition, Prediction, Run
from mlcore.runs.start import TRANSFORM, start_run

TRUE = ExplanationSet.Target.TRUE


@dataclass(frozen=True)
class BothMaps:
    """The sets of one method that fit together best, and how many of the part's images each classifier still lacks."""

    original: ExplanationSet | None
    tuned: ExplanationSet | None
    images: int
    lacks_original: int
    lacks_tuned: int

    @property
    def complete(self) -> bool:
        """Whether every image of the part has both maps and both predictions."""
        return self.original is not None and self.tuned is not None and not (self.lacks_original or self.lacks_tuned)


def tuned_for(classifier: Classifier) -> str | None:
    """The metric that the run which made the classifier tuned it for; None for any other classifier."""
    run = classifier.run
    return metric_of(run.recipe) if run is not None and tunes(run.recipe) else None


def usual_way(classifier: Classifier) -> tuple[str, str]:
    """Method and layer that the classifier was tuned through; Grad-CAM at its usual layer for any other."""
    recipe = classifier.run.recipe if classifier.run is not None and tuned_for(classifier) else {}
    return str(recipe.get("method") or "grad_cam"), str(recipe.get("layer") or "")


def both_maps(
    original: Classifier, tuned: Classifier, *, partition: Partition, part: str, method: str, layer: str = ""
) -> BothMaps:
    """Maps of the true class by `method`; those with the most images of the part, and the newest of those."""
    images = Image.objects.filter(memberships__partition=partition, memberships__part=part)
    number = images.count()
    ways: list[dict[str, tuple[int, ExplanationSet]]] = []
    for classifier in (original, tuned):
        found: dict[str, tuple[int, ExplanationSet]] = {}
        for one in _sets(classifier, partition.image_set, method, layer):
            there = Explanation.objects.filter(set=one, image__in=images.values("pk")).count()
            if there:
                found.setdefault(_way(one), (there, one))
        ways.append(found)
    common = [way for way in ways[0] if way in ways[1]]
    if not common:
        lacks = [number - max((there for there, _ in found.values()), default=0) for found in ways]
        # One of them is there, but made in another way: both are needed in one.
        return BothMaps(None, None, number, lacks[0] or number, lacks[1] or number)
    way = max(common, key=lambda way: (ways[0][way][0] + ways[1][way][0], ways[0][way][1].created))
    asked = [
        Prediction.objects.filter(classifier=one, image__in=images.values("pk")).aggregate(n=Count("pk"))["n"]
        for one in (original, tuned)
    ]
    (there, first), (later, second) = ways[0][way], ways[1][way]
    return BothMaps(first, second, number, number - min(there, asked[0]), number - min(later, asked[1]))


def reading_of(tuned: Classifier) -> dict[str, Any]:
    """How both classifiers read pictures while the copy was tuned, as options of a run."""
    return {key: tuned.transform[key] for key in TRANSFORM if key in (tuned.transform or {})}


def explain_runs(
    original: Classifier,
    tuned: Classifier,
    *,
    partition: Partition,
    part: str,
    method: str,
    layer: str = "",
    options: dict[str, Any] | None = None,
    owner: Any = None,
    enqueue: bool = False,
) -> list[Run]:
    """A run for each classifier that makes its maps of the true class; images that have one are skipped.

    Both read pictures as the copy was tuned, unless `options` say otherwise.
    Raises RunRefused with a sentence for each field that is wrong.
    """
    recipe = reading_of(tuned) | {"methods": method, "target": TRUE.value, "part": part} | (options or {})
    if layer:
        recipe[f"{method}.layer"] = layer
    return [
        start_run(
            kind="explain",
            name=f"{classifier}, {method} for pairs"[:160],
            owner=owner,
            image_set=partition.image_set,
            partition=partition,
            classifier=classifier,
            recipe=recipe,
            enqueue=enqueue,
        )
        for classifier in (original, tuned)
    ]


def score_run(
    metric: str,
    original: ExplanationSet,
    tuned: ExplanationSet,
    *,
    partition: Partition,
    part: str,
    owner: Any = None,
    enqueue: bool = False,
) -> Run | None:
    """The run that measures both sets of maps; None where that was done, or where no metric of maps has this score.

    Raises RunRefused.
    """
    plain = plain_metric(metric)
    if plain not in METRICS or not METRICS[plain].needs or scores_of(metric, original, tuned, part) is not None:
        return None
    return start_run(
        kind="score",
        name=f"{plain} before and after: {tuned.classifier}"[:160],
        owner=owner,
        image_set=partition.image_set,
        partition=partition,
        recipe={"metrics": plain, "part": part},
        explanation_sets=[original, tuned],
        enqueue=enqueue,
    )


def _sets(classifier: Classifier, image_set: ImageSet, method: str, layer: str) -> QuerySet[ExplanationSet]:
    sets = ExplanationSet.objects.filter(classifier=classifier, image_set=image_set, method=method, target=TRUE)
    return (sets.filter(layer=layer) if layer else sets).order_by("-created", "-pk")


def _way(one: ExplanationSet) -> str:
    return repr([getattr(one, name) for name in SAME])


__all__ = ["BothMaps", "both_maps", "explain_runs", "reading_of", "score_run", "tuned_for", "usual_way"]
