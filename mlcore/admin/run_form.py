"""The form that starts a run, made from the catalogue's fields: what exists there exists here.

The catalogue's own checks decide what is allowed; this module only lays fields out and says what was wrong where.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from harmony.inputs import Group, Input, from_field, values
from harmony.researcher import owned
from mlcore.catalogue import FAMILIES, METHODS, OBJECTIVES, Field, fields_for
from mlcore.models import Classifier, ImageSet, Partition, Run, SupervisionSet

KIND_TITLES = {
    "train": ("Train", "Teach a classifier on the training part, or tune one on what people said."),
    "explain": ("Explain", "Make maps of what a classifier looks at, once for each image of a part."),
    "evaluate": ("Evaluate", "Measure accuracy and how well the maps fit, on one part."),
}
# What nearly every run sets stands open; the rest is folded under its group's name.
COMMON = {
    "train": {
        "objective",
        "architecture",
        "epochs",
        "batch_size",
        "learning_rate",
        "image_size",
        "select",
    },
    "explain": {"method", "target", "part", "image_size"},
    "evaluate": {"part", "method", "image_size"},
}
SWITCHES = {"objective", "method", "image_set", "partition", "classifier"}  # choosing one changes the form


GROUP_TITLES = {"How": "Steps", "What": "Which class"}
READING = ("image_size", "resize", "normalise")


@dataclass
class RunForm:
    """Everything that the page shows, and the arguments that `start_run` takes."""

    kind: str
    what: list[Input]
    common: list[Input]
    own: Group | None
    folded: list[Group]
    note: str
    error: str
    objects: dict[str, Any]
    name: str
    typed_name: str
    seed: int
    with_control: bool
    recipe: dict[str, Any]


def recipe_values(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe as it stands in `data`: fields of this kind only."""
    return values(fields_for(kind, data), data)


def build(user: Any, data: Mapping[str, Any], errors: Mapping[str, str] | None = None) -> RunForm:
    """The form for these values. `errors` maps a field's name to a sentence; unknown names stand at the top."""
    errors = dict(errors or {})
    kind = str(data.get("kind"))
    kind = kind if kind in KIND_TITLES else "train"
    objects = _objects(user, data)
    recipe_fields = fields_for(kind, data)
    chosen = _chosen_spec(kind, data)
    own_names = {item.name for item in chosen.fields} if chosen else set()
    reads = _as_it_reads(objects["classifier"])
    lines = {item.name: _recipe_input(item, data, errors, reads) for item in recipe_fields}
    if kind == "train" and objects["classifier"]:
        lines.pop("architecture", None)
    common = [line for name, line in lines.items() if name in COMMON[kind] and name not in own_names]
    own = [line for name, line in lines.items() if name in own_names]
    rest: dict[str, list[Input]] = {}
    for item in recipe_fields:
        if item.name in lines and item.name not in COMMON[kind] and item.name not in own_names:
            rest.setdefault(item.group, []).append(lines[item.name])
    what = _what(user, kind, data, objects, errors)
    shown = {line.name for line in what} | set(lines)
    seed = str(data.get("seed") or "0")
    typed_name = str(data.get("name") or "").strip()
    return RunForm(
        kind=kind,
        what=what,
        common=common,
        own=Group(f"{chosen.title}: {chosen.summary}", own) if chosen and own else None,
        folded=[Group(GROUP_TITLES.get(title, title or "More"), items) for title, items in rest.items()],
        note=KIND_TITLES[kind][1],
        error=" ".join(sentence for name, sentence in errors.items() if name not in shown),
        objects=objects,
        name=typed_name or suggested_name(kind, data, objects),
        typed_name=typed_name,
        seed=int(seed) if seed.isdigit() else 0,
        with_control=str(data.get("with_control", "no")) == "yes",
        recipe=recipe_values(kind, data),
    )


def from_run(run: Run) -> dict[str, Any]:
    """The values of a run, to repeat it with changes."""
    return {
        "kind": run.kind,
        "image_set": str(run.image_set_id),
        "partition": str(run.partition_id or ""),
        "classifier": str(run.classifier_id or ""),
        "supervision": str(run.supervision_id or ""),
        "seed": str(run.seed),
        "name": run.name,
        **{key: ("yes" if value else "no") if isinstance(value, bool) else value for key, value in run.recipe.items()},
    }


def suggested_name(kind: str, data: Mapping[str, Any], objects: Mapping[str, Any]) -> str:
    image_set = objects.get("image_set")
    parts = [str(image_set) if image_set else ""]
    if kind == "train":
        spec = OBJECTIVES.get(str(data.get("objective") or "supervised"))
        parts.append(spec.title.lower() if spec else "")
    else:
        parts += [kind, str(objects.get("classifier") or "")]
    return " · ".join(part for part in parts if part)[:160]


def _chosen_spec(kind: str, data: Mapping[str, Any]) -> Any:
    if kind == "train":
        return OBJECTIVES.get(str(data.get("objective") or "supervised"))
    return METHODS.get(str(data.get("method") or "grad_cam"))


def _as_it_reads(classifier: Classifier | None) -> dict[str, Any]:
    """How a chosen classifier reads images: for it, these are the defaults."""
    known = (classifier.transform or {}) if classifier else {}
    return {name: known[name] for name in READING if name in known}


def _recipe_input(item: Field, data: Mapping[str, Any], errors: Mapping[str, str], reads: Mapping[str, Any]) -> Input:
    line = from_field(item, data, errors, default=reads.get(item.name, item.default))
    line.switches = item.name in SWITCHES
    if item.name == "architecture":
        line.suggestions = tuple(name for names in FAMILIES.values() for name in names)
    return line


def _find(queryset: QuerySet, pk: Any) -> Any:
    return queryset.filter(pk=int(pk)).first() if str(pk or "").isdigit() else None


def _objects(user: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """The chosen rows, among those that this person may see; what does not belong together is dropped."""
    classifier = _find(owned(Classifier.objects.all(), user), data.get("classifier"))
    image_set = _find(owned(ImageSet.objects.all(), user), data.get("image_set"))
    partition = supervision = None
    if image_set:
        partition = _find(owned(Partition.objects.filter(image_set=image_set), user), data.get("partition"))
        supervision = _find(owned(SupervisionSet.objects.filter(image_set=image_set), user), data.get("supervision"))
        if classifier and classifier.classes != image_set.classes and data.get("kind") != "train":
            classifier = None
    return {
        "image_set": image_set,
        "partition": partition,
        "classifier": classifier,
        "supervision": supervision,
    }


def _what(
    user: Any, kind: str, data: Mapping[str, Any], objects: Mapping[str, Any], errors: Mapping[str, str]
) -> list[Input]:
    """Which images, which classifier, whose maps: the rows that a run needs."""
    image_set = objects["image_set"]

    def picker(name: str, label: str, rows: Iterable[Any], empty: str, help: str, required: bool) -> Input:
        chosen = objects[name]
        return Input(
            name, label, "choice", str(chosen.pk) if chosen else "", help, errors.get(name, ""),
            choices=[("", empty), *((str(row.pk), str(row)) for row in rows)],
            required=required, switches=name in SWITCHES,
        )  # fmt: skip

    lines = [
        picker("image_set", "Images", owned(ImageSet.objects.all(), user)[:200], "Choose a set of images", "", True)
    ]
    if not image_set:
        return lines
    partitions = owned(Partition.objects.filter(image_set=image_set).select_related("image_set"), user)
    lines.append(
        picker(
            "partition", "Partition", partitions[:200], "Choose a partition",
            "Which images train, are rated and drawn, choose the epoch, and are looked at last.", kind != "explain",
        )
    )  # fmt: skip
    classifiers = owned(Classifier.objects.all(), user)[:300]
    fitting = [row for row in classifiers if kind == "train" or row.classes == image_set.classes]
    lines.append(
        picker(
            "classifier", "Classifier", fitting,
            "None: a new one" if kind == "train" else "Choose a classifier",
            "A classifier to go on from." if kind == "train" else "Those with exactly the classes of these images.",
            kind != "train",
        )
    )  # fmt: skip
    if kind == "train":
        supervision = owned(SupervisionSet.objects.filter(image_set=image_set), user)[:200]
        lines.append(
            picker(
                "supervision", "What people said", supervision, "Nothing",
                "Drawn maps and weights from a study, for the objectives that teach where to look.", False,
            )
        )  # fmt: skip
    return lines
