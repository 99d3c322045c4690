"""What a score run is refused for: maps that are not there, and metrics that lack what they need."""

from collections.abc import Iterator

from mlcore.catalogue import METHODS, METRICS, MetricSpec
from mlcore.models import Explanation, ExplanationSet
from mlcore.models.partitions import Part
from mlcore.runs.attention import file_behind
from mlcore.runs.manifest import ALL, entries_of
from mlcore.runs.wish import Refusal, Wish, with_truth


def score_refusals(wish: Wish) -> Iterator[Refusal]:
    """Of a score run; any other kind is asked only whether it was given what it does not use."""
    if wish.kind != "score":
        if wish.explanation_sets:
            yield "explanation_sets", "Only a score run judges sets of maps that are there already."
        if wish.human_maps is not None:
            yield "human_maps", "Only a score run compares with people's maps."
        return
    if not wish.explanation_sets:
        yield "explanation_sets", "Choose the sets of maps that are judged."
        return
    yield from _sets(wish)
    metrics = [METRICS[name] for name in wish.recipe["metrics"]]
    yield from _masks(wish, metrics)
    yield from _people(wish, metrics)
    for chosen in wish.explanation_sets:
        yield from _classifier(chosen, metrics)


def _sets(wish: Wish) -> Iterator[Refusal]:
    for chosen in wish.explanation_sets:
        if chosen.image_set_id != wish.image_set.pk:
            yield "explanation_sets", f"“{chosen}” explains another image set, not “{wish.image_set}”."
            return
        if not chosen.explanations.filter(payload=Explanation.Payload.MAP).exists():
            what = "neighbours or matched patches, no maps" if chosen.explanations.exists() else "no maps"
            yield "explanation_sets", f"“{chosen}” holds {what}; metrics judge maps."
            return
    part = wish.recipe["part"]
    if part != ALL and wish.partition is None:
        return  # that a partition is missing is said already
    where = "of this image set" if part == ALL else f"in the part “{Part(part).label}”"
    images = [image for _, image, _, _ in entries_of(wish.manifest)]
    if not images:
        yield "part", f"None of the chosen sets has a map of an image {where}."
        return
    for chosen in wish.explanation_sets:
        if not _has_one(chosen, wish):
            yield "part", f"“{chosen}” ({str(chosen.uuid)[:8]}) has no map of an image {where}; leave the set out."


def _has_one(chosen: ExplanationSet, wish: Wish) -> bool:
    maps = chosen.explanations.filter(payload=Explanation.Payload.MAP)
    part = wish.recipe["part"]
    if part == ALL:
        return maps.exists()
    return maps.filter(image__memberships__partition=wish.partition, image__memberships__part=part).exists()


def _masks(wish: Wish, metrics: list[MetricSpec]) -> Iterator[Refusal]:
    needing = [spec.title for spec in metrics if "mask" in spec.needs]
    images = [image for _, image, _, _ in entries_of(wish.manifest)]
    if needing and images and not with_truth(images):
        yield "metrics", f"Without masks or boxes, which none of the images has, there is no {_listed(needing)}."


def _people(wish: Wish, metrics: list[MetricSpec]) -> Iterator[Refusal]:
    needing = [spec.title for spec in metrics if "person" in spec.needs]
    maps = wish.human_maps
    if maps is None:
        if needing:
            yield "human_maps", f"Choose the people's maps that are needed for {_listed(needing)}."
        return
    if maps.image_set_id != wish.image_set.pk:
        yield "human_maps", f"“{maps}” was drawn on another image set, not “{wish.image_set}”."
    elif maps.stale:
        yield "human_maps", f"A person whose maps are in “{maps}” was deleted since; make a new set of the study."
    elif needing:
        drawn = {str(uuid) for uuid in maps.maps.values_list("image__uuid", flat=True)}
        if not any(image in drawn for _, image, _, _ in entries_of(wish.manifest)):
            yield "human_maps", f"People drew on none of the images that are judged (“{maps}”)."


def _classifier(chosen: ExplanationSet, metrics: list[MetricSpec]) -> Iterator[Refusal]:
    asking = [spec.title for spec in metrics if "model" in spec.needs]
    if asking and not (chosen.classifier.weights and chosen.classifier.classes):
        yield "metrics", f"“{chosen.classifier}” has no weights, so it cannot be asked again for {_listed(asking)}."
    again = [spec.title for spec in metrics if "method" in spec.needs]
    if not again:
        return
    spec = METHODS.get(chosen.method)
    if spec is None:
        yield "metrics", f"“{chosen.method}” is not known here and cannot make the maps again for {_listed(again)}."
    elif "attention" in spec.needs and not file_behind(chosen):
        yield "metrics", f"{spec.title} cannot make the maps again for {_listed(again)}: its attention module is gone."


def _listed(titles: list[str]) -> str:
    return " and ".join(titles[:2]) if len(titles) < 3 else f"{titles[0]} (and {len(titles) - 1} more)"
