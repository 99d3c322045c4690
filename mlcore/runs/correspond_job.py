"""What the job of a classification by comparison has besides its queries: the gallery, right answers, what was said."""

from collections.abc import Iterator
from typing import Any

from mlcore.catalogue import own_options, upgrade
from mlcore.catalogue.matchers import MATCHERS, NETWORK
from mlcore.models import Classifier, CorrespondenceNetwork, Explanation, ExplanationSet, Image, ImageSet, Run
from mlcore.runs import manifest as manifests
from mlcore.runs.correspond_features import folder_of, key_of, row_of
from mlcore.runs.correspond_images import GALLERY
from mlcore.runs.correspond_names import same_classes
from mlcore.runs.correspond_networks import file_of, needing, network_for
from mlcore.runs.correspond_sets import gallery_of
from mlcore.runs.job_classifier import JobImpossible
from mlcore.runs.objects import CHUNK

# Of what a set has said of an image: all that the figures need, without its neighbours.
SAID = ("target", "data__confidence", "data__first", "data__converged", "data__compared")


def compared_by(run: Run) -> dict[str, Any]:
    """The keys "gallery" and "compare" of the job. Raises JobImpossible for what is gone since the start."""
    if run.classifier is None:
        raise JobImpossible("The classifier of this run was deleted since it was started.")
    recipe, gallery = upgrade(run.kind, run.recipe), gallery_of(run)
    network = _network(recipe, run.classifier)
    layers = {"last": recipe["layer"]} | ({"middle": network.layer} if network is not None else {})
    return {
        "gallery": list(_pictures(run.manifest[GALLERY])),
        "compare": {
            "stores": {name: _stores(run, run.classifier, gallery, layer) for name, layer in layers.items()},
            "right": _right(run, gallery),
            "head": same_classes(run.classifier.classes, gallery.classes),
            "matchers": list(_matchers(run, recipe)),
        },
    }


def _network(recipe: dict[str, Any], classifier: Classifier) -> CorrespondenceNetwork | None:
    for name in needing(recipe["matchers"]):
        try:
            return network_for(classifier, name, str(recipe.get(f"{name}.{NETWORK}") or ""))
        except ValueError as error:
            raise JobImpossible(str(error)) from error
    return None


def _stores(run: Run, classifier: Classifier, gallery: ImageSet, layer: str) -> dict[str, Any]:
    found: dict[str, Any] = {"layer": layer}
    for name, images in (("gallery", gallery), ("queries", run.image_set)):
        key = key_of(classifier, images, layer, run.recipe)
        row_of(classifier, images, layer, run.recipe, run.owner)
        found[name] = {"folder": str(folder_of(key)), "key": key}
    return found


def _pictures(entries: list[list[Any]]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(entries), CHUNK):
        chunk = entries[start : start + CHUNK]
        images = {str(image.uuid): image for image in Image.objects.filter(uuid__in=[entry[0] for entry in chunk])}
        for uuid, label, sha256 in chunk:
            if uuid not in images:
                raise JobImpossible(f"An image of the gallery ({uuid}) was deleted since the run was started.")
            if images[uuid].sha256 != sha256:
                raise JobImpossible(f"The image {images[uuid].name} was replaced since this run was started.")
            yield {"id": uuid, "key": sha256, "path": images[uuid].file.path, "label": label}


def _right(run: Run, gallery: ImageSet) -> dict[str, list[int]]:
    """Query → its right answers in the gallery's classes; a class that no class there is called as is none."""
    places = same_classes(run.image_set.classes, gallery.classes)
    found = {}
    for _, image, told, _ in manifests.entries_of(run.manifest):
        answers = [place for label in manifests.labels_of(told) if (place := places[label]) is not None]
        if answers:
            found[image] = answers
    return found


def _matchers(run: Run, recipe: dict[str, Any]) -> Iterator[dict[str, Any]]:
    images = {image for _, image, _, _ in manifests.entries_of(run.manifest)}
    sets = {made.method: made for made in run.explanation_sets.all()}
    for name in recipe["matchers"]:
        if name not in MATCHERS or name not in sets:
            raise JobImpossible(f"The way of comparing “{name}” is not known here any more.")
        options = own_options(recipe, name)
        if needing([name]):
            row = _network(recipe | {"matchers": [name]}, sets[name].classifier)
            assert row is not None, "a matcher that needs a network has one, or the job is impossible"
            try:
                options[NETWORK] = str(file_of(row))
            except ValueError as error:
                raise JobImpossible(str(error)) from error
        yield {
            "name": name,
            "id": str(sets[name].uuid),
            "options": options,
            "done": said_by(sets[name], images),
        }


def said_by(explained: ExplanationSet, images: set[str]) -> dict[str, list[Any]]:
    """Image → [class, confidence, class of the first neighbour, comparisons that converged, of how many]."""
    rows = Explanation.objects.filter(set=explained).order_by().values_list("image__uuid", *SAID)
    return {str(uuid): list(said) for uuid, *said in rows.iterator() if str(uuid) in images}
