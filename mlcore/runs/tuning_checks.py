"""What a run that tunes a copy of a classifier for a metric is refused for, and what it leaves out (definitions §5)."""

from collections.abc import Iterator

from mlcore.catalogue.learnable import LEARNABLE
from mlcore.catalogue.tuning import TRAINS, needs_objects, tunes, why_not_through
from mlcore.models.partitions import Part
from mlcore.runs.wish import Refusal, Wish

PARTS = (Part.TRAIN, Part.POOL, Part.VALIDATION)
SOURCES = {"masks": "a mask", "boxes": "a box", "maps": "a drawn map"}


def tuning_refusals(wish: Wish) -> Iterator[Refusal]:
    """No classifier, no way through it, nothing that says where the objects are."""
    if wish.kind not in TRAINS or not tunes(wish.recipe):
        return
    if wish.classifier is None:
        yield "classifier", "A copy of a trained classifier is tuned: choose the classifier."
    else:
        why = why_not_through(wish.recipe["method"], wish.classifier.architecture)
        if why:
            yield "method", why
    by_maps = needs_objects(wish.recipe) and wish.recipe["object_source"] == "maps"
    if wish.supervision is not None and not by_maps:
        yield (
            "supervision",
            "This run asks nothing of people's maps: leave them out, or tune for a metric that needs objects.",
        )
    if by_maps and wish.supervision is None:
        yield "supervision", "The objects come from people's maps: choose whose."
    elif wish.partition is not None:
        trains = wish.manifest.get(Part.TRAIN) or wish.manifest.get(Part.POOL)
        for part, there in ((Part.TRAIN, trains), (Part.VALIDATION, wish.manifest.get(Part.VALIDATION))):
            if not there and left_without_objects(wish, part):
                yield "object_source", _nothing(wish, part)


def _nothing(wish: Wish, part: Part) -> str:
    title = LEARNABLE[wish.recipe["metric"]].title
    return (
        f"{title} needs to know where the object is, and no image of the part “{part.label}” has {_sought(wish, part)}."
    )


def left_without_objects(wish: Wish, part: str) -> int:
    """How many images of a part the run leaves out because nothing says where their object is."""
    if wish.kind not in TRAINS or not needs_objects(wish.recipe) or wish.partition is None or part == Part.TEST:
        return 0
    if wish.kind != "train" and part == Part.VALIDATION:  # a test of learning rates does not look there
        return 0
    members = wish.partition.members.filter(part=part)
    if part == Part.POOL:  # of the pool a run sees only what people were asked about
        if wish.supervision is None:
            return 0
        members = members.filter(image__in=wish.supervision.items.values("image"))
    return members.count() - len(wish.manifest.get(part, ()))


def left_out(wish: Wish) -> list[str]:
    """A line for the log for every part with images that are left out."""
    return [
        f"{count} {'image' if count == 1 else 'images'} of the part “{part.label}” {'is' if count == 1 else 'are'} "
        f"left out: without {_sought(wish, part)}."
        for part in PARTS
        if (count := left_without_objects(wish, part))
    ]


def _sought(wish: Wish, part: Part) -> str:
    source = wish.recipe["object_source"]
    return "a mask or a box" if source == "maps" and part == Part.VALIDATION else SOURCES[source]
