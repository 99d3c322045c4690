"""Start a run: check it, freeze its images, write its row and put it into the queue.

Forms, the command line and other runs all come through here, so the same wish gives the same run.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from django.db import transaction

from mlcore.catalogue import METRICS, OBJECTIVES, RecipeError, clean
from mlcore.catalogue.tuning import TRAINS, learns, needs_objects
from mlcore.models import (
    AuditEntry,
    Classifier,
    ExplanationSet,
    HumanMapSet,
    ImageSet,
    Partition,
    Run,
    SupervisionSet,
)
from mlcore.models.partitions import Part
from mlcore.runs import correspond_checks, correspond_networks
from mlcore.runs import manifest as manifests
from mlcore.runs.attention import settled
from mlcore.runs.checks import RunRefused, Wish, refusals
from mlcore.runs.code_version import code_version
from mlcore.runs.correspond_features import layer_of
from mlcore.runs.manifest import ALL, SHARDS
from mlcore.runs.queue import send_on_commit
from mlcore.runs.sharded import frozen_shards
from mlcore.runs.state import line
from mlcore.runs.tuning_checks import left_out
from mlcore.tars.names import ShardsRefused

__all__ = ["RunRefused", "start_control", "start_run"]

TRANSFORM = ("image_size", "resize", "normalise")
LABELS = "labels"  # stands beside them where a classifier learned several an image


@transaction.atomic
def start_run(
    *,
    kind: str,
    name: str,
    owner: Any,
    image_set: ImageSet,
    recipe: dict[str, Any],
    partition: Partition | None = None,
    classifier: Classifier | None = None,
    supervision: SupervisionSet | None = None,
    explanation_sets: Sequence[ExplanationSet] = (),
    human_maps: HumanMapSet | None = None,
    classifiers: Sequence[Classifier] = (),
    gallery: ImageSet | None = None,
    control: Run | None = None,
    repeats: Run | None = None,
    seed: int = 0,
    enqueue: bool = True,
) -> Run:
    """A queued run. `recipe` holds the options that differ from their defaults.

    A classifier's own way of reading images (input size, resizing, normalisation) is kept unless the recipe
    says otherwise. `explanation_sets` and `human_maps` are what a score run judges and compares with; its images are
    those of the part that have a map in one of the sets. `classifiers` are what a report compares;
    `gallery` is what a classification by comparison compares with, its own images where none is given.
    Raises RunRefused with a sentence for each field that is wrong.
    """
    try:
        # Maps that are judged were made as their own sets say.
        cleaned = clean(kind, _as_its_classifier_reads(kind, recipe, classifier if kind != "score" else None))
    except RecipeError as error:
        raise RunRefused(error.errors) from error
    try:
        seed = int(seed)
    except (TypeError, ValueError):
        raise RunRefused({"seed": f"“{seed}” is not a whole number."}) from None
    if kind == "explain" and classifier is not None:
        cleaned = settled(cleaned, [classifier])
    elif kind == "report":
        cleaned = settled(cleaned, classifiers)
    elif kind == "correspond" and classifier is not None:
        cleaned = _compared_by(cleaned, classifier)
    sets = tuple(dict.fromkeys(explanation_sets))
    frozen = manifests.freeze(
        kind=kind,
        recipe=cleaned,
        image_set=image_set,
        partition=partition,
        supervision=supervision,
        explanation_sets=sets,
        gallery=gallery,
    )
    if kind in TRAINS and cleaned["shards"]:
        try:
            frozen[SHARDS] = frozen_shards(cleaned, list(image_set.classes))
        except ShardsRefused as error:
            raise RunRefused({"shards": str(error)}) from error
    compared = tuple(dict.fromkeys(classifiers))
    wish = Wish(
        kind, name, seed, image_set, partition, classifier, supervision, cleaned, frozen, sets, human_maps, compared,
        gallery,
    )  # fmt: skip
    errors = refusals(wish)
    if errors:
        raise RunRefused(errors)
    return _write(wish, owner=owner, control=control, repeats=repeats, enqueue=enqueue)


@transaction.atomic
def start_control(run: Run, *, owner: Any = None, enqueue: bool = True) -> Run:
    """The run to compare a fine-tuned one with: same images, steps, w_p, seed and selection rule, w_a = 0.

    Made once a run: a second call gives the first one's. Raises RunRefused where `run` has no attention term.
    """
    run = Run.objects.select_for_update().get(pk=run.pk)
    if run.control is not None:
        return run.control
    objective = run.recipe.get("objective", "supervised")
    if run.kind != "train" or "map" not in OBJECTIVES[objective].needs:
        raise RunRefused({"run": f"“{run}” has no attention term, so there is nothing to leave out in a control."})
    own = {field.name for field in OBJECTIVES[objective].fields}
    # The supervised objective weighs images by w_p and asks nothing of their maps: that is w_a = 0.
    recipe = {key: value for key, value in run.recipe.items() if key not in own} | {"objective": "supervised"}
    wish = Wish(
        kind="train",
        name=f"{run.name[:150]} (control)",
        seed=run.seed,
        image_set=run.image_set,
        partition=run.partition,
        classifier=run.classifier,
        supervision=run.supervision,
        recipe=clean("train", recipe),
        manifest=run.manifest,
    )
    control = _write(wish, owner=owner or run.owner, enqueue=enqueue)
    Run.objects.filter(pk=run.pk).update(control=control)
    return control


def _as_its_classifier_reads(kind: str, recipe: dict[str, Any], classifier: Classifier | None) -> dict[str, Any]:
    known = (classifier.transform or {}) if classifier is not None else {}
    told = (*TRANSFORM, LABELS) if kind in ("explain", "evaluate") else TRANSFORM
    return {key: known[key] for key in told if key in known} | {
        key: value for key, value in recipe.items() if value is not None
    }


def _compared_by(recipe: dict[str, Any], classifier: Classifier) -> dict[str, Any]:
    """The recipe with the layer and the correspondence network that are read written into it. Raises RunRefused."""
    with suppress(ValueError):  # told with what else is wrong
        recipe = recipe | {"layer": layer_of(classifier, recipe["layer"])}
    return correspond_networks.settled(recipe, classifier)


def _write(
    wish: Wish, *, owner: Any, control: Run | None = None, repeats: Run | None = None, enqueue: bool = True
) -> Run:
    run = Run.objects.create(
        name=wish.name.strip(),
        kind=wish.kind,
        owner=owner if getattr(owner, "pk", None) else None,
        recipe=wish.recipe,
        seed=wish.seed,
        image_set=wish.image_set,
        partition=wish.partition,
        classifier=wish.classifier,
        supervision=wish.supervision,
        human_maps=wish.human_maps,
        gallery=wish.gallery,
        control=control,
        repeats=repeats,
        manifest=wish.manifest,
        manifest_hash=manifests.digest(wish.manifest),
        log="".join(line(sentence) for sentence in _notes(wish)),
    )
    run.explanation_sets.set(wish.explanation_sets)
    for classifier in wish.classifiers:  # one by one: their order is the table's
        run.classifiers.add(classifier)
    counts = {part: len(entries) for part, entries in wish.manifest.items()}
    if SHARDS in wish.manifest:
        counts["images of shards"] = sum(entry[3] for entry in wish.manifest[SHARDS])
    AuditEntry.write(owner, "run.start", run, after={"kind": run.kind, "seed": run.seed, "images": counts})
    if _looks_at_test(wish):
        AuditEntry.write(owner, "run.look_at_test", run, after={"partition": str(wish.partition)})
    if enqueue:
        send_on_commit(run)
    return run


def _looks_at_test(wish: Wish) -> bool:
    """Whether figures of test images come of the run; maps alone are no look."""
    if wish.kind == "explain":
        return False
    if wish.kind == "score" and wish.recipe["part"] == ALL and wish.partition is not None:
        test = wish.partition.members.filter(part=Part.TEST)
        return test.filter(image__explanations__set__in=wish.explanation_sets).exists()
    return Part.TEST.value in wish.manifest


def _notes(wish: Wish) -> list[str]:
    """What the run does on its own account, said in its log from the first line."""
    notes = _notes_on_the_head(wish)
    if wish.kind in TRAINS and needs_objects(wish.recipe):
        notes += left_out(wish)
    notes += _notes_on_other_code(wish)
    if wish.kind == "correspond":
        notes += correspond_checks.notes(wish)
    if _looks_at_test(wish):
        notes.append("This run looks at the test part; the look is on record.")
    return notes


def _notes_on_other_code(wish: Wish) -> list[str]:
    """Where a metric asks the method for maps again: sets that other code has made, whose like it cannot make."""
    if wish.kind != "score" or not any("method" in METRICS[name].needs for name in wish.recipe["metrics"]):
        return []
    return [
        f"The maps of “{chosen}” ({str(chosen.uuid)[:8]}) were made by another version of this program; metrics that "
        "make maps again compare them with maps of this one. Explain again to be sure."
        for chosen in wish.explanation_sets
        if chosen.code_version != code_version()
    ]


def _notes_on_the_head(wish: Wish) -> list[str]:
    ours = list(wish.image_set.classes)
    if wish.kind not in TRAINS or wish.classifier is None or list(wish.classifier.classes) == ours:
        return []
    theirs = len(wish.classifier.classes)
    if not learns(wish.recipe):
        return [f"“{wish.classifier}” keeps its own {theirs} classes; the images' labels are not looked at."]
    if theirs == len(ours):
        return [f"The head of “{wish.classifier}” is kept: it has as many classes under other names."]
    had = f"{theirs} classes" if theirs else "classes unknown here"
    return [f"The head of “{wish.classifier}” ({had}) is replaced by a fresh one for {len(ours)} classes."]
