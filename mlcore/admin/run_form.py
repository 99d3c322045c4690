"""The form that starts a run, made from the catalogue's fields: what exists there exists here.

The catalogue's own checks decide what is allowed; this module only lays fields out and says what was wrong where.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from harmony.inputs import Group, Input, from_field, values
from harmony.researcher import owned
from mlcore.admin import run_attention, run_choices, run_correspond_form, run_report_form
from mlcore.admin.run_choices import Block, Judged
from mlcore.catalogue import FAMILIES, LEARNABLE, METHODS, Field, fields_for, upgrade
from mlcore.catalogue.recipes import SEVERAL, chosen
from mlcore.catalogue.tuning import TRAINS, makes_beside, metric_of, objective_of, rules, tunes
from mlcore.models import Classifier, ImageSet, Partition, Run, SupervisionSet
from mlcore.runs.report_plan import classifiers_of

KIND_TITLES = {
    "train": ("Train", "Teach a classifier on the training part, or tune one on what people said."),
    "lr_test": (
        "Try rates",
        "Train a little at rising learning rates, to see which one to train with. Nothing is kept.",
    ),
    "explain": ("Explain", "Make maps of what a classifier looks at, by one or several methods in one pass."),
    "score": ("Score", "Compute metrics of maps that are there, with intervals, for one table."),
    "evaluate": ("Evaluate", "Measure accuracy and how well the maps fit, on one part."),
    "report": (
        "Report",
        "Compare classifiers and methods on the same images, in one table. Two baselines, the centre and chance, are "
        "always in it.",
    ),
    "correspond": (
        "Compare",
        "Classify images by the pictures of a gallery that they are most alike: nearest neighbours, and those ranked "
        "anew by matching parts.",
    ),
}
# What nearly every run sets stands open; the rest is folded under its group's name.
COMMON = {
    "train": {
        "objective",
        "architecture",
        "labels",
        "epochs",
        "batch_size",
        "learning_rate",
        "image_size",
        "select",
    },
    "lr_test": {
        "objective",
        "architecture",
        "batch_size",
        "image_size",
        "low",
        "high",
        "steps",
        "beta",
        "stop_at",
    },
    "explain": {"target", "part", "image_size"},
    "score": {"part", "batch_size"},
    "evaluate": {"part", "method", "labels", "image_size"},
    "report": {"part", "target", "accuracy", "batch_size"},
    "correspond": run_correspond_form.COMMON,
}
COMMON_TUNING = COMMON["train"] | {"max_steps", "evaluate_steps", "agreement_guard"}
# Choosing one changes the form.
SWITCHES = {"objective", "metric", "labels", "method", "image_set", "partition", "classifier"}


GROUP_TITLES = {"How": "Steps", "What": "Which class"}
READING = ("image_size", "resize", "normalise")
TAUGHT = (*READING, "labels")  # what a classifier's own training says of how it is explained and evaluated


@dataclass
class RunForm:
    """Everything that the page shows, and the arguments that `start_run` takes."""

    kind: str
    what: list[Input]
    common: list[Input]
    blocks: list[Block]
    own: Group | None
    owns: list[Group]
    folded: list[Group]
    note: str
    error: str
    objects: dict[str, Any]
    name: str
    typed_name: str
    seed: int
    with_control: bool
    control_offered: bool
    recipe: dict[str, Any]


def recipe_values(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe as it stands in `data`: fields of this kind only."""
    return values(fields_for(kind, data), data)


def build(user: Any, data: Mapping[str, Any], errors: Mapping[str, str] | None = None) -> RunForm:
    """The form for these values. `errors` maps a field's name to a sentence; unknown names stand at the top."""
    errors = dict(errors or {})
    kind = str(data.get("kind"))
    kind = kind if kind in KIND_TITLES else "train"
    data = upgrade(kind, data)
    objects = _objects(user, kind, data)
    found = run_choices.judged(user, objects["image_set"], data) if kind == "score" else Judged()
    recipe_fields = fields_for(kind, data)
    spec = _chosen_spec(kind, data)
    own_names = {item.name for item in spec.fields} if spec else set()
    reads = _as_it_reads(objects["classifier"], told_by(kind))
    lines = {
        item.name: _recipe_input(item, data, errors, reads) for item in recipe_fields if item.kind != "choices"
    }  # fmt: skip
    modules = run_attention.modules_of(objects["classifier"]) if kind == "explain" else []
    run_attention.offer_modules(lines, modules)
    attended = {row.kind for row in modules}
    blocks = _blocks(kind, data, errors, found, attended)
    if kind == "report":
        blocks = run_report_form.blocks(user, objects["image_set"], data, errors, objects["classifiers"])
    elif kind == "correspond":
        blocks = [run_correspond_form.matchers_block(objects["classifier"], data, errors.get("matchers", ""))]
    owns = _owns(kind, data, lines, {option.value for block in blocks for option in block.options if option.why})
    own_names |= {line.name for group in owns for line in group.inputs}
    if kind in TRAINS and objects["classifier"]:
        lines.pop("architecture", None)
    usual = COMMON_TUNING if kind == "train" and tunes(data) else COMMON[kind]
    common = [line for name, line in lines.items() if name in usual and name not in own_names]
    own = [line for name, line in lines.items() if spec and name in own_names]
    rest: dict[str, list[Input]] = {}
    for item in recipe_fields:
        if item.name in lines and item.name not in usual and item.name not in own_names:
            rest.setdefault(item.group, []).append(lines[item.name])
    what = _what(user, kind, objects, errors, found, beside=makes_beside(data))
    shown = {line.name for line in what} | set(lines) | {block.name for block in blocks}
    room = run_correspond_form.room(objects, data) if kind == "correspond" else ""
    seed = str(data.get("seed") or "0")
    typed_name = str(data.get("name") or "").strip()
    return RunForm(
        kind=kind,
        what=what,
        common=common,
        blocks=blocks,
        own=Group(f"{spec.title}: {spec.summary}", own) if spec and own else None,
        owns=owns,
        folded=[Group(GROUP_TITLES.get(title, title or "More"), items) for title, items in rest.items()],
        note=KIND_TITLES[kind][1] + (f" {room}" if room else ""),
        error=" ".join(sentence for name, sentence in errors.items() if name not in shown),
        objects=objects | {"explanation_sets": found.sets, "human_maps": found.human_maps},
        name=typed_name or suggested_name(kind, data, objects),
        typed_name=typed_name,
        seed=int(seed) if seed.isdigit() else 0,
        with_control=str(data.get("with_control", "no")) == "yes",
        control_offered=kind == "train" and spec is not None and "map" in spec.needs,
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
        "explanation_sets": ",".join(str(pk) for pk in run.explanation_sets.values_list("pk", flat=True)),
        "human_maps": str(run.human_maps_id or ""),
        "gallery": str(run.gallery_id or ""),
        "classifiers": ",".join(str(row.pk) for row in classifiers_of(run)),
        "seed": str(run.seed),
        "name": run.name,
        **{key: _as_typed(value) for key, value in upgrade(run.kind, run.recipe).items()},
    }


def _as_typed(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, list) else value


def suggested_name(kind: str, data: Mapping[str, Any], objects: Mapping[str, Any]) -> str:
    image_set = objects.get("image_set")
    parts = [str(image_set) if image_set else ""]
    if kind in TRAINS:
        spec = objective_of(data)
        parts.append("learning rates" if kind == "lr_test" else "")
        if tunes(data):
            tuned_for = LEARNABLE.get(metric_of(data))
            parts.append(f"tuned for {tuned_for.title}" if tuned_for else "")
        else:
            parts.append((spec.title if makes_beside(data) else spec.title.lower()) if spec else "")
    elif kind == "report":
        compared = [str(one) for one in objects.get("classifiers") or ()]
        parts += [kind, ", ".join(compared[:3]) + (" …" if len(compared) > 3 else "")]
    else:
        parts += [KIND_TITLES[kind][0].lower(), str(objects.get("classifier") or "")]
    return " · ".join(part for part in parts if part)[:160]


def _chosen_spec(kind: str, data: Mapping[str, Any]) -> Any:
    if kind in TRAINS:
        return objective_of(data)
    return METHODS.get(str(data.get("method") or "grad_cam")) if kind == "evaluate" else None


def _blocks(
    kind: str, data: Mapping[str, Any], errors: Mapping[str, str], found: Judged, attended: set[str]
) -> list[Block]:
    """What is ticked in lists: the methods of an explain run, the maps and metrics of a score run. attended: methods
    for which the classifier has a trained attention module."""
    if kind == "explain":
        return [run_choices.methods_block(data, chosen(kind, data), errors.get("methods", ""), attended)]
    if kind == "score":
        return [
            run_choices.sets_block(found, errors.get("explanation_sets", "")),
            run_choices.metrics_block(found, chosen(kind, data), errors.get("metrics", "")),
        ]
    return []


def _owns(kind: str, data: Mapping[str, Any], lines: Mapping[str, Input], barred: set[str]) -> list[Group]:
    """The options of each chosen method or metric that can be chosen, under its title."""
    if kind not in SEVERAL:
        return []
    found = []
    for chooser, registry in SEVERAL[kind].items():
        names = [name for name in chosen(kind, data, chooser) if name not in barred]
        found += [Group(title, own) for title, own in run_choices.own_groups(names, registry, lines)]
    return found


def told_by(kind: Any) -> tuple[str, ...]:
    """Options that a chosen classifier's own training gives to a run of this kind."""
    return TAUGHT if kind in ("explain", "evaluate") else READING


def _as_it_reads(classifier: Classifier | None, told: tuple[str, ...]) -> dict[str, Any]:
    """How a chosen classifier reads images: for it, these are the defaults."""
    known = (classifier.transform or {}) if classifier else {}
    return {name: known[name] for name in told if name in known}


def _recipe_input(item: Field, data: Mapping[str, Any], errors: Mapping[str, str], reads: Mapping[str, Any]) -> Input:
    line = from_field(item, data, errors, default=reads.get(item.name, item.default))
    line.switches = item.name in SWITCHES
    if item.name == "select":
        line.choices = [choice for choice in line.choices if choice[0] in rules(data)]
    if item.name == "architecture":
        line.suggestions = tuple(name for names in FAMILIES.values() for name in names)
    return line


def _find(queryset: QuerySet, pk: Any) -> Any:
    return queryset.filter(pk=int(pk)).first() if str(pk or "").isdigit() else None


def _objects(user: Any, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The chosen rows, among those that this person may see; what does not belong together is dropped."""
    classifier = _find(owned(Classifier.objects.all(), user), data.get("classifier"))
    image_set = _find(owned(ImageSet.objects.all(), user), data.get("image_set"))
    partition = supervision = None
    if image_set:
        partition = _find(owned(Partition.objects.filter(image_set=image_set), user), data.get("partition"))
        supervision = _find(owned(SupervisionSet.objects.filter(image_set=image_set), user), data.get("supervision"))
        if classifier and classifier.classes != image_set.classes and kind not in (*TRAINS, "correspond"):
            classifier = None
    if kind == "score":
        classifier = None  # each set of maps has its own
    if kind not in TRAINS:
        supervision = None
    compared: list[Classifier] = []
    if kind == "report":
        compared, classifier = run_report_form.ticked(run_report_form.offered(user, image_set), data), None
    gallery = None
    if kind == "correspond":
        offered = run_correspond_form.galleries(user, image_set)
        gallery = next((row for row in offered if str(row.pk) == str(data.get("gallery") or "")), None)
    return {
        "image_set": image_set,
        "gallery": gallery,
        "partition": partition,
        "classifier": classifier,
        "classifiers": compared,
        "supervision": supervision,
    }


def _what(
    user: Any, kind: str, objects: Mapping[str, Any], errors: Mapping[str, str], found: Judged, *, beside: bool
) -> list[Input]:
    """Which images, which classifier, whose maps: the rows that a run needs. beside: the run
    trains something beside a classifier."""
    image_set = objects["image_set"]

    def picker(name: str, label: str, rows: Iterable[Any], empty: str, help: str, required: bool) -> Input:
        picked = objects.get(name, found.human_maps)
        return Input(
            name, label, "choice", str(picked.pk) if picked else "", help, errors.get(name, ""),
            choices=[("", empty), *((str(row.pk), str(row)) for row in rows)],
            required=required, switches=name in SWITCHES,
        )  # fmt: skip

    lines = [
        picker("image_set", "Images", owned(ImageSet.objects.all(), user)[:200], "Choose a set of images", "", True)
    ]
    if not image_set:
        return lines
    if kind == "correspond":
        lines.append(
            picker(
                "gallery", "Gallery", run_correspond_form.galleries(user, image_set), "The same images",
                "What they are compared with; no image is compared with itself.", False,
            )
        )  # fmt: skip
    partitions = owned(Partition.objects.filter(image_set=image_set).select_related("image_set"), user)
    lines.append(
        picker(
            "partition", "Partition", partitions[:200], "Choose a partition",
            "Which images train, are rated and drawn, choose the epoch, and are looked at last.",
            kind not in ("explain", "score", "report", "correspond"),
        )
    )  # fmt: skip
    if kind == "report":
        return lines  # its classifiers are ticked in a list
    if kind == "score":
        lines.append(
            picker(
                "human_maps", "People's maps", found.people, "None",
                "For metrics that compare with people. Kept by a drawing study's “Compare with what people drew”.",
                False,
            )
        )  # fmt: skip
        return lines
    classifiers = owned(Classifier.objects.all(), user)[:300]
    trains, stays = kind in TRAINS, kind in TRAINS and beside
    compares = kind == "correspond"
    fitting = [row for row in classifiers if trains or compares or row.classes == image_set.classes]
    use = "The classifier beside which it is trained; it stays as it is." if stays else "A classifier to go on from."
    if compares:
        use = "Whose features are compared. Its own answers count where it calls classes as the gallery does."
    lines.append(
        picker(
            "classifier", "Classifier", fitting,
            "None: a new one" if trains and not stays else "Choose a classifier",
            use if trains or compares else "Those with exactly the classes of these images.",
            stays or not trains,
        )
    )  # fmt: skip
    if trains and not stays:
        supervision = owned(SupervisionSet.objects.filter(image_set=image_set), user)[:200]
        lines.append(
            picker(
                "supervision", "What people said", supervision, "Nothing",
                "Drawn maps and weights from a study, for the objectives that teach where to look.", False,
            )
        )  # fmt: skip
    return lines
