"""What a classification by comparison is refused for: each refusal names the field and says what to do."""

from collections.abc import Iterator
from importlib.util import find_spec

from mlcore.catalogue.matchers import MATCHERS
from mlcore.models import ImageLabel
from mlcore.runs.correspond_features import Estimate, estimate, in_bytes, layer_of
from mlcore.runs.correspond_images import ALL, GALLERY, members
from mlcore.runs.correspond_names import chosen_classes, same_classes
from mlcore.runs.manifest import entries_of, labels_of
from mlcore.runs.wish import Refusal, Wish


def correspond_refusals(wish: Wish) -> Iterator[Refusal]:
    """Of a comparison; any other kind is asked only whether it was given a gallery."""
    if wish.kind != "correspond":
        if wish.gallery is not None:
            yield "gallery", "Only a classification by comparison takes a gallery."
        return
    yield from _who(wish)
    yield from _gallery(wish)
    yield from _queries(wish)
    yield from _search(wish)


def _who(wish: Wish) -> Iterator[Refusal]:
    if wish.classifier is None:
        yield "classifier", "Choose the classifier whose features are compared."
    elif not wish.classifier.weights:
        yield "classifier", f"“{wish.classifier}” has no weights."
    elif not wish.classifier.classes:
        yield "classifier", f"“{wish.classifier}” has no list of classes; import it again with its class names."
    elif not wish.recipe["layer"]:
        try:
            layer_of(wish.classifier, "")
        except ValueError as error:
            yield "layer", str(error)


def _gallery(wish: Wish) -> Iterator[Refusal]:
    gallery, same = wish.gallery or wish.image_set, _own(wish)
    if gallery.owner_id != wish.image_set.owner_id:
        yield "gallery", f"“{gallery}” belongs to someone else than “{wish.image_set}”; both must be one owner's."
    if not same and wish.recipe["gallery_part"] != ALL:
        yield (
            "gallery_part",
            f"A part of the gallery can be named where it is the queries' own set; “{gallery}” is another: leave all.",
        )
    if same and wish.partition is None and wish.recipe["gallery_part"] != ALL:
        yield "partition", "Choose the partition whose part is the gallery."
        return
    listed = wish.manifest.get(GALLERY, [])
    if len(listed) < 2:
        images = members(gallery, wish.partition if same else None, wish.recipe["gallery_part"] if same else ALL)
        there = images.count()
        yield (
            "gallery",
            f"Of the {there} images of the gallery in “{gallery}” {len(listed) or 'none'} "
            f"{'has' if len(listed) < 2 else 'have'} one label; two or more are needed to vote.",
        )
        return
    count = len(gallery.classes)
    if any(label >= count for _, label, _ in listed):
        yield "gallery", f"A label lies outside the {count} classes of “{gallery}”."
    if not same and not any(place is not None for place in same_classes(wish.image_set.classes, gallery.classes)):
        ours, theirs = wish.image_set.classes[:1] or ["nothing"], gallery.classes[:1] or ["nothing"]
        yield (
            "gallery",
            f"No class of “{wish.image_set}” (such as “{ours[0]}”) is called as one of “{gallery}” (such as "
            f"“{theirs[0]}”), so no answer could be right.",
        )


def _queries(wish: Wish) -> Iterator[Refusal]:
    source = wish.recipe["label_source"]
    if wish.recipe["classes"]:
        try:
            chosen_classes(wish.image_set.classes, wish.recipe["classes"])
        except ValueError as error:
            yield "classes", str(error)
            return
    queries = list(entries_of(wish.manifest))
    if not queries:
        if wish.recipe["classes"]:
            yield "classes", "None of the images shows one of these classes."
        return  # a part without images is told with the partition
    if not any(told for _, _, told, _ in queries):
        labels = ImageLabel.objects.filter(image__image_set=wish.image_set).order_by("source")
        known = list(labels.values_list("source", flat=True).distinct()[:8])
        there = f"There are labels by: {', '.join(known)}." if known else "Nobody said what these images show."
        yield "label_source", f"“{source}” says nothing about these images. {there}"
    count = len(wish.image_set.classes)
    if any(label >= count for _, _, told, _ in queries for label in labels_of(told)):
        yield "image_set", f"A label lies outside the {count} classes of “{wish.image_set}”."


def _search(wish: Wish) -> Iterator[Refusal]:
    if wish.recipe["index"] != "exact" and find_spec("faiss") is None:
        yield "index", "faiss is not installed here: choose the exact search, or install faiss-cpu."
    listed = wish.manifest.get(GALLERY, [])
    if wish.classifier is None or not wish.recipe["layer"] or not listed:
        return
    size = size_for(wish)
    if size is not None and size.missing > size.free:
        yield (
            "gallery",
            f"Features of these images need {in_bytes(size.missing)} on the disk, and {in_bytes(size.free)} are free.",
        )


def size_for(wish: Wish) -> Estimate | None:
    """How much room the run's features need; None where it is not known before."""
    if wish.classifier is None:
        return None
    queries = {image for _, image, _, _ in entries_of(wish.manifest)}
    listed = {image for image, _, _ in wish.manifest.get(GALLERY, [])}
    if _own(wish):
        sets = {wish.image_set: len(queries | listed)}
    else:
        assert wish.gallery is not None, "another set is a set"
        sets = {wish.image_set: len(queries), wish.gallery: len(listed)}
    return estimate(wish.classifier, wish.recipe["layer"], wish.recipe, sets)


def notes(wish: Wish) -> list[str]:
    """What a run says in its log from the first line: the room that it needs, and whose labels are missing."""
    said = []
    size = size_for(wish)
    if size is not None:
        said.append(size.sentence)
    gallery, same = wish.gallery or wish.image_set, _own(wish)
    images = members(gallery, wish.partition if same else None, wish.recipe["gallery_part"] if same else ALL)
    without = images.count() - len(wish.manifest.get(GALLERY, []))
    if without:
        said.append(f"{without} images of the gallery “{gallery}” have no label, or several, and do not vote.")
    titles = ", ".join(MATCHERS[name].title for name in wish.recipe["matchers"])
    return [*said, f"Compared by: {titles}."]


def _own(wish: Wish) -> bool:
    return wish.gallery is None or wish.gallery.pk == wish.image_set.pk
