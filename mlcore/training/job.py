"""A job as it arrives: read, checked, and given types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlcore.catalogue.tuning import TRAINS, learns
from mlcore.training.errors import JobError

VERSION = 1
KINDS = ("train", "lr_test", "explain", "evaluate", "score", "report", "correspond")
# Kinds whose classifiers stand elsewhere than under "classifier": each set of maps, each entry names its own.
LISTED = {"score": "sets", "report": "reports"}
PARTS = ("train", "annotation_pool", "validation", "test")


@dataclass(slots=True, frozen=True)
class Item:
    """An image with what is known of it.

    `labels` are the classes of its annotations, one each, where images have several; `label` is then the first.
    `map` is supervision (a mask file), `truth` and `boxes` are references for evaluation; `boxes` are
    (x0, y0, x1, y1) in pixels of the image; `difficult` says that all of them are. `w_p` and `w_a` weigh prediction
    and attention (definitions §2).
    """

    id: str
    path: str
    label: int | None = None
    map: str | None = None
    boxes: tuple[tuple[float, float, float, float], ...] | None = None
    w_p: float = 1.0
    w_a: float = 0.0
    truth: str | None = None
    key: str = ""
    difficult: bool = False
    labels: tuple[int, ...] = ()

    @property
    def chance_key(self) -> str:
        """What shuffles and augmentations are keyed by: the file's hash where it is given, so that the same
        pictures imported elsewhere, under other ids, train the same weights."""
        return self.key or self.id

    @property
    def has_reference(self) -> bool:
        """Whether something says where the object is."""
        return self.truth is not None or bool(self.boxes) or self.map is not None


@dataclass(slots=True, frozen=True)
class ClassifierSpec:
    """Which classifier to build, and from which weights."""

    architecture: str
    num_classes: int
    weights: str | None = None
    padding: str = "torch"
    replace_head: bool = False


@dataclass(slots=True, frozen=True)
class Job:
    """One job; see `parse`.

    A training job trains on the parts train and annotation_pool as given (a job of phase 1 leaves the pool
    out), chooses its epoch on validation and looks at test only when the recipe says so. `skip` (method → images) is
    of explanation jobs, `sets` and `people` (image → files of maps) of score jobs,
    `reports` (one entry a classifier) of report jobs, `gallery` and `compare` of correspond jobs.
    """

    kind: str
    run: str
    attempt: str
    workdir: Path
    resume: Path | None
    seed: int
    device: str
    recipe: dict[str, Any]
    classes: tuple[str, ...]
    classifier: ClassifierSpec
    parts: dict[str, list[Item]]
    skip: dict[str, frozenset[str]] = field(default_factory=dict)
    sets: tuple[dict[str, Any], ...] = ()
    reports: tuple[dict[str, Any], ...] = ()
    people: dict[str, list[str]] = field(default_factory=dict)
    shards: tuple[dict[str, Any], ...] = ()
    gallery: list[Item] = field(default_factory=list)
    compare: dict[str, Any] = field(default_factory=dict)

    def skipped(self, method: str) -> frozenset[str]:
        """Ids of images that need no map by this method."""
        return self.skip.get(method, self.skip.get("", frozenset()))

    def option(self, key: str, default: Any = None) -> Any:
        """A key of the recipe; `default` where it is absent or empty."""
        value = self.recipe.get(key)
        return default if value is None or value == "" else value


def parse(raw: Mapping[str, Any]) -> Job:
    """Check a job (the dictionary of JOB.json) and give it types.

    Raises JobError with one sentence: a field that is missing, a label outside the classes, an image in two
    parts, a file that does not exist (the first one is named, with how many more).
    """
    if raw.get("version") != VERSION:
        raise JobError(f"This job is of version {raw.get('version')}; this program reads version {VERSION}.")
    kind = raw.get("kind")
    if kind not in KINDS:
        raise JobError(f"The job's kind must be one of {', '.join(KINDS)}, not “{kind}”.")
    for key in ("workdir", "recipe", LISTED.get(str(kind), "classifier"), "parts"):
        if not raw.get(key) and not (key == "parts" and raw.get("shards")):
            raise JobError(f"The job lacks “{key}”.")
    if kind in LISTED:
        classifier = ClassifierSpec("", len(raw.get("classes") or ()))
    else:
        classifier = classifier_spec(raw["classifier"])
    parts = {name: [_item(entry, name) for entry in entries or ()] for name, entries in raw["parts"].items()}
    _refuse_unknown_parts(parts)
    _refuse_shared_images(parts)
    _refuse_drawn_images_outside_training(parts)
    # A copy that is tuned, or an attention, learns what the classifier says, not what the images are labelled.
    _refuse_labels_outside(parts, classifier.num_classes, required=kind in TRAINS and learns(raw["recipe"]))
    gallery = [_item(entry, "gallery") for entry in raw.get("gallery") or ()]
    _refuse_absent_files(item for items in (*parts.values(), gallery) for item in items)
    return Job(
        kind=kind,
        run=str(raw.get("run", "")),
        attempt=str(raw.get("attempt", "")),
        workdir=Path(raw["workdir"]),
        resume=Path(raw["resume"]) if raw.get("resume") else None,
        seed=int(raw.get("seed") or 0),
        device=str(raw.get("device") or "auto"),
        recipe=dict(raw["recipe"]),
        classes=tuple(str(name) for name in raw.get("classes") or ()),
        classifier=classifier,
        parts=parts,
        skip=_skip(raw.get("skip") or {}),
        sets=tuple(raw.get("sets") or ()),
        reports=tuple(raw.get("reports") or ()),
        shards=tuple(raw.get("shards") or ()),
        gallery=gallery,
        compare=dict(raw.get("compare") or {}),
        people={str(image): [str(path) for path in paths] for image, paths in (raw.get("people") or {}).items()},
    )


def _skip(raw: Mapping[str, Iterable[Any]] | Iterable[Any]) -> dict[str, frozenset[str]]:
    """Method → image ids; a plain list holds for every method, under the empty name."""
    by_method = raw if isinstance(raw, Mapping) else {"": raw}
    return {str(method): frozenset(str(name) for name in names) for method, names in by_method.items()}


def classifier_spec(raw: Mapping[str, Any]) -> ClassifierSpec:
    """Raises JobError where something is missing."""
    try:
        return ClassifierSpec(
            architecture=str(raw["architecture"]),
            num_classes=int(raw["num_classes"]),
            weights=str(raw["weights"]) if raw.get("weights") else None,
            padding=str(raw.get("padding") or "torch"),
            replace_head=bool(raw.get("replace_head")),
        )
    except KeyError as error:
        raise JobError(f"The job's classifier lacks “{error.args[0]}”.") from error


def _item(raw: Mapping[str, Any], part: str) -> Item:
    try:
        boxes = raw.get("boxes")
        labels = tuple(int(label) for label in raw.get("labels") or ())
        first = labels[0] if labels else raw.get("label")
        return Item(
            id=str(raw["id"]),
            path=str(raw["path"]),
            label=None if first is None else int(first),
            map=raw.get("map") or None,
            boxes=None if boxes is None else tuple(_box(box) for box in boxes),
            w_p=float(raw.get("w_p", 1.0)),
            w_a=float(raw.get("w_a", 0.0)),
            truth=raw.get("truth") or None,
            key=str(raw.get("key") or ""),
            difficult=bool(raw.get("difficult")),
            labels=labels,
        )
    except KeyError as error:
        raise JobError(f"An image of the part “{part}” lacks “{error.args[0]}”.") from error
    except (TypeError, ValueError) as error:
        raise JobError(f"An image of the part “{part}” ({raw.get('id')}) is malformed: {error}.") from error


def _box(raw: Iterable[Any]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in raw)
    return left, top, right, bottom


def _refuse_unknown_parts(parts: Mapping[str, list[Item]]) -> None:
    for name in parts:
        if name not in PARTS:
            raise JobError(f"There is no part “{name}”; the parts are {', '.join(PARTS)}.")


def _refuse_shared_images(parts: Mapping[str, list[Item]]) -> None:
    seen: dict[str, str] = {}
    for name, items in parts.items():
        for item in items:
            if item.id in seen:
                where = "twice in" if seen[item.id] == name else f"in “{seen[item.id]}” and in"
                raise JobError(
                    f"The image {item.id} is {where} “{name}”; every image belongs to one part, once, "
                    "or the numbers would flatter the classifier."
                )
            seen[item.id] = name


def _refuse_drawn_images_outside_training(parts: Mapping[str, list[Item]]) -> None:
    for name in ("validation", "test"):
        for item in parts.get(name, ()):
            if item.w_a > 0:
                raise JobError(
                    f"The image {item.id} of the part “{name}” carries attention supervision (w_a > 0); "
                    "images that people rated or drew on belong to the annotation pool."
                )


def _refuse_labels_outside(parts: Mapping[str, list[Item]], count: int, *, required: bool) -> None:
    for name, items in parts.items():
        for item in items:
            if item.label is None and required:
                raise JobError(f"The image {item.id} of the part “{name}” has no label.")
            for label in item.labels or (item.label,):
                if label is not None and not 0 <= label < count:
                    raise JobError(f"The image {item.id} has label {label}; the labels are 0 to {count - 1}.")


def _refuse_absent_files(items: Iterable[Item]) -> None:
    absent = [path for item in items for path in (item.path, item.map, item.truth) if path and not Path(path).is_file()]
    if absent:
        more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        raise JobError(f"The file {Path(absent[0]).name}{more} does not exist any more.")
