"""What a run is refused for, before it is queued: each refusal names the field and says what to do."""

from collections.abc import Callable, Iterator

from mlcore.catalogue import OBJECTIVES
from mlcore.catalogue.several import LEARNED_BY, several, why_not_by
from mlcore.catalogue.tuning import TRAINS, learns, makes_attention, makes_beside, makes_network
from mlcore.models import Box, Image
from mlcore.models.images import LABEL_SOURCE
from mlcore.models.partitions import Part
from mlcore.runs.correspond_checks import correspond_refusals
from mlcore.runs.manifest import ALL, Manifest, entries_of, labels_of
from mlcore.runs.processes import scale_refusals
from mlcore.runs.report_checks import report_refusals
from mlcore.runs.score_checks import score_refusals
from mlcore.runs.sharded import shard_refusals
from mlcore.runs.tuning_checks import left_without_objects, tuning_refusals
from mlcore.runs.wish import Refusal, RunRefused, Wish, having, with_truth

__all__ = ["RunRefused", "Wish", "refusals"]

# Kinds that know all images of a set without a partition, and what they do with them.
WITHOUT_PARTITION = {"explain": "explain", "score": "score", "report": "report", "correspond": "compare"}


def refusals(wish: Wish) -> dict[str, str]:
    """Every reason against the run, the first of each field."""
    errors: dict[str, str] = {}
    for check in CHECKS:
        for field, sentence in check(wish):
            errors.setdefault(field, sentence)
    return errors


def _own_fields(wish: Wish) -> Iterator[Refusal]:
    if not wish.name.strip():
        yield "name", "Give the run a name."
    elif len(wish.name) > 160:
        yield "name", "The name is longer than 160 characters."
    if not 0 <= wish.seed <= 2_147_483_647:
        yield "seed", "The seed is a whole number from 0 to 2147483647."


def _partition(wish: Wish) -> Iterator[Refusal]:
    if wish.partition is None:
        if wish.kind in WITHOUT_PARTITION and wish.recipe["part"] == ALL:
            if wish.kind != "score" and not wish.manifest.get(ALL) and not wish.recipe.get("classes"):
                yield "image_set", f"“{wish.image_set}” holds no images."
            return
        verb = WITHOUT_PARTITION.get(wish.kind)
        more = f", or {verb} all images (part: all)" if verb else ""
        yield "partition", f"Choose the partition that says which images belong to which part{more}."
        return
    if wish.partition.image_set_id != wish.image_set.pk:
        yield "partition", f"The partition “{wish.partition.name}” cuts another image set, not “{wish.image_set}”."
        return
    if wish.kind == "score":  # which of the part's images have maps is asked with the sets
        return
    for part in _needed_parts(wish):
        if not wish.manifest.get(part) and not left_without_objects(wish, part) and not wish.recipe.get("classes"):
            yield "partition", f"The part “{Part(part).label}” of “{wish.partition.name}” holds no images."


def _needed_parts(wish: Wish) -> list[str]:
    if wish.kind not in TRAINS:
        return [wish.recipe["part"]] if wish.recipe["part"] != ALL else []
    parts = [] if wish.recipe["shards"] else [Part.TRAIN.value]
    if wish.kind != "train":
        return parts
    if wish.recipe["select"] != "last":
        parts.append(Part.VALIDATION.value)
    if wish.recipe["evaluate_test"]:
        parts.append(Part.TEST.value)
    return parts


def _labels(wish: Wish) -> Iterator[Refusal]:
    if (
        wish.kind in ("score", "correspond")
        or (wish.kind == "explain" and wish.recipe["target"] != "true")
        or not learns(wish.recipe)
    ):
        return  # a tuned copy, or an attention, learns what the classifier says
    without = [image for _, image, told, _ in entries_of(wish.manifest) if not labels_of(told)]
    if without:
        first = Image.objects.get(uuid=without[0])
        what = "no label" if several(wish.recipe) else "no label, or several, where one is needed"
        yield "image_set", f"{len(without)} images have {what}; the first is {first.name}.{_hint(wish, first)}"
    count = len(wish.image_set.classes)
    if any(label >= count for _, _, told, _ in entries_of(wish.manifest) for label in labels_of(told)):
        yield "image_set", f"A label lies outside the {count} classes of “{wish.image_set}”."
    if wish.kind in TRAINS and several(wish.recipe):
        of = wish.classifier.architecture if wish.classifier is not None else wish.recipe["architecture"]
        if why_not_by(of):
            yield "architecture" if wish.classifier is None else "classifier", why_not_by(of)
    if wish.kind in TRAINS and count < 2:
        yield "image_set", f"“{wish.image_set}” has {count} class; a classifier needs two or more."


def _hint(wish: Wish, image: Image) -> str:
    """What to do about an image with several labels, where the run can take them."""
    has = not several(wish.recipe) and image.labels.filter(source=LABEL_SOURCE).count() > 1
    can = wish.recipe.get("objective", LEARNED_BY[0]) in LEARNED_BY
    return " It has several: choose “Labels an image: several”." if has and can else ""


def _classifier(wish: Wish) -> Iterator[Refusal]:
    classifier = wish.classifier
    if wish.kind in ("report", "correspond"):
        return  # asked with the report, which has several, and with what is compared
    if wish.kind == "score":
        if classifier is not None:
            yield "classifier", "A score run takes each set's own classifier; leave this one out."
        return
    if classifier is None:
        if makes_attention(wish.recipe):
            yield "classifier", "TAME explains a trained classifier: choose one."
        elif makes_network(wish.recipe):
            yield "classifier", "A correspondence network reads a trained classifier: choose one."
        elif wish.kind not in TRAINS:
            verb = "explained" if wish.kind == "explain" else "evaluated"
            yield "classifier", f"Choose the classifier that is {verb}."
        return
    if not classifier.weights:
        yield "classifier", f"“{classifier}” has no weights."
        return
    ours, theirs = list(wish.image_set.classes), list(classifier.classes)
    if wish.kind in TRAINS and learns(wish.recipe):
        if ours != theirs and sorted(ours) == sorted(theirs):
            yield "classifier", f"“{classifier}” knows the classes of “{wish.image_set}” in another order."
        return
    if not theirs:
        yield "classifier", f"“{classifier}” has no list of classes; import it again with its class names."
        return
    if not learns(wish.recipe):
        return
    # A map of what the classifier itself says needs no common classes; a comparison with labels does.
    if (wish.kind == "evaluate" or wish.recipe["target"] == "true") and ours != theirs:
        yield (
            "classifier",
            (
                f"“{classifier}” knows {_some(theirs)}, but “{wish.image_set}” has {_some(ours)}: "
                "fine-tune it on these images first."
            ),
        )
    if wish.kind == "explain" and wish.recipe["target"] == "given" and wish.recipe["target_class"] >= len(theirs):
        yield "target_class", f"“{classifier}” has the classes 0 to {len(theirs) - 1}."


def _some(classes: list[str]) -> str:
    shown = ", ".join(str(name) for name in classes[:4])
    return f"{len(classes)} classes ({shown}{', …' if len(classes) > 4 else ''})"


def _supervision(wish: Wish) -> Iterator[Refusal]:
    supervision = wish.supervision
    if supervision is None:
        return
    if wish.kind not in TRAINS:
        yield "supervision", "Only training uses supervision."
        return
    if makes_beside(wish.recipe):
        what = "An attention module" if makes_attention(wish.recipe) else "A correspondence network"
        yield "supervision", f"{what} learns from the pictures alone: leave people's maps out."
        return
    if supervision.image_set_id != wish.image_set.pk:
        yield "supervision", f"“{supervision}” was made for another image set, not “{wish.image_set}”."
        return
    if supervision.stale:
        yield (
            "supervision",
            (f"A person whose answers are in “{supervision}” was deleted since; make a new supervision of the study."),
        )
    if not supervision.items.exists():
        yield "supervision", f"“{supervision}” holds no images."
    if wish.partition is None:
        return
    for part in (Part.VALIDATION, Part.TEST):
        there = supervision.items.filter(image__memberships__partition=wish.partition, image__memberships__part=part)
        first = there.select_related("image").first()
        if first is not None:
            yield (
                "supervision",
                (
                    f"{there.count()} images that people rated or drew on lie in the part “{part.label}” "
                    f"(the first is {first.image.name}); the numbers would flatter the classifier. "
                    "Use a partition that has them in the annotation pool."
                ),
            )
    outside = supervision.items.exclude(image__memberships__partition=wish.partition)
    if outside.exists():
        yield "supervision", f"{outside.count()} of its images are in no part of “{wish.partition.name}”."


def _attention(wish: Wish) -> Iterator[Refusal]:
    if wish.kind not in TRAINS or "map" not in OBJECTIVES[wish.recipe["objective"]].needs:
        return
    title = OBJECTIVES[wish.recipe["objective"]].title
    if wish.recipe["supervision_source"] == "boxes":
        if wish.manifest and not _with_boxes(wish.manifest):
            yield "supervision_source", f"{title} by boxes needs boxes, and no training image has one."
        return
    if wish.supervision is None:
        yield "supervision", f"{title} learns from people's maps: choose a supervision, or the boxes as its source."
    elif not wish.supervision.items.filter(w_a__gt=0).exists():
        yield (
            "supervision",
            (
                f"No image of “{wish.supervision}” has a drawn map that counts (w_a > 0), "
                f"so {title} has nothing to learn."
            ),
        )


def _selection(wish: Wish) -> Iterator[Refusal]:
    if wish.kind != "train" or wish.recipe["select"] != "best_attention_iou":
        return
    images = [entry[0] for entry in wish.manifest.get(Part.VALIDATION.value, ())]
    known = with_truth(images)
    without = [image for image in images if image not in known]
    if without:
        first = Image.objects.get(uuid=without[0])
        yield (
            "select",
            (
                f"{len(without)} of {len(images)} validation images have neither mask nor box "
                f"(the first is {first.name}); keeping the epoch with the best attention IoU needs one for each."
            ),
        )


def _scale(wish: Wish) -> Iterator[Refusal]:
    if wish.kind == "train":
        yield from scale_refusals(wish.recipe)


def _with_boxes(manifest: Manifest) -> bool:
    images = [image for part, image, _, _ in entries_of(manifest) if part in (Part.TRAIN, Part.POOL)]
    return bool(having(Box, images))


CHECKS: tuple[Callable[[Wish], Iterator[Refusal]], ...] = (
    _own_fields,
    _partition,
    _labels,
    _classifier,
    _supervision,
    _attention,
    _selection,
    tuning_refusals,
    score_refusals,
    _scale,
    report_refusals,
    shard_refusals,
    correspond_refusals,
)
