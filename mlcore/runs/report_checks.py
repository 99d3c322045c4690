"""What a report is refused for: classifiers that cannot be compared on these images, and figures without an object."""

from collections.abc import Iterator

from mlcore.catalogue import METRICS
from mlcore.catalogue.several import several
from mlcore.runs.manifest import entries_of
from mlcore.runs.wish import Refusal, Wish, with_truth


def report_refusals(wish: Wish) -> Iterator[Refusal]:
    """Of a report; any other kind is asked only whether it was given several classifiers."""
    if wish.kind != "report":
        if wish.classifiers:
            yield "classifiers", "Only a report takes several classifiers."
        return
    if wish.classifier is not None:
        yield "classifier", "A report takes a list of classifiers; leave this one out."
    if not wish.classifiers:
        yield "classifiers", "Choose the classifiers that are compared."
    ours = list(wish.image_set.classes)
    for classifier in wish.classifiers:
        theirs = list(classifier.classes)
        if not classifier.weights:
            yield "classifiers", f"“{classifier}” has no weights."
        elif several(classifier.transform or {}):
            yield "classifiers", f"“{classifier}” learned several labels an image; a report counts one."
        elif theirs != ours:
            yield "classifiers", _other_classes(str(classifier), str(wish.image_set), theirs, ours)
    yield from _objects(wish)


def _objects(wish: Wish) -> Iterator[Refusal]:
    needing = [METRICS[name].title for name in wish.recipe["metrics"] if "mask" in METRICS[name].needs]
    images = [image for _, image, _, _ in entries_of(wish.manifest)]
    if needing and images and not with_truth(images):
        yield (
            "metrics",
            f"None of the {len(images)} images has a mask or a box, so there is no {needing[0]}"
            f"{f' (and {len(needing) - 1} more)' if len(needing) > 1 else ''}: choose other images or other metrics.",
        )


def _other_classes(classifier: str, image_set: str, theirs: list[str], ours: list[str]) -> str:
    if sorted(theirs) == sorted(ours):
        return f"“{classifier}” knows the classes of “{image_set}” in another order; it cannot be compared on them."
    if len(theirs) != len(ours):
        return (
            f"“{classifier}” knows {len(theirs)} classes, “{image_set}” has {len(ours)}; "
            "a report compares classifiers of exactly the images' classes."
        )
    mine, other = next((a, b) for a, b in zip(ours, theirs, strict=True) if a != b)
    return (
        f"“{classifier}” calls a class “{other}” that “{image_set}” calls “{mine}”; fine-tune it on these images first."
    )
