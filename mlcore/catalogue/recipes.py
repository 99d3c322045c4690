"""Recipes: every option of a run, checked. A recipe is a flat dictionary; what a run does follows from it,
its manifest, its classifier and its seed alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlcore.catalogue.fields import Field, RecipeError, clean_fields
from mlcore.catalogue.learnable import options_of
from mlcore.catalogue.methods import METHODS
from mlcore.catalogue.metrics import METRICS
from mlcore.catalogue.objectives import OBJECTIVES
from mlcore.catalogue.spec import Spec
from mlcore.catalogue.tuning import published, tunes


def _choices(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, name.replace("_", " ")) for name in names)


INPUT = (
    Field("image_size", "Input size", "int", 224, "Side of the square input in pixels.", 16, 1024, group="Input"),
    Field(
        "resize", "Resize", "choice", "squash",
        "squash: to the square without keeping the aspect (GRADIA); crop: short side, then the centre; "
        "none: images already have the input size.",
        choices=_choices("squash", "crop", "none"), group="Input",
    ),
    Field(
        "normalise", "Normalise", "choice", "imagenet", "Mean and deviation of ImageNet, or only 0…1.",
        choices=_choices("imagenet", "none"), group="Input",
    ),
)  # fmt: skip

MACHINE = (
    Field("device", "Device", "choice", "auto", "auto takes a GPU where there is one.",
          choices=_choices("auto", "cpu", "cuda"), group="Machine"),
    Field("mixed_precision", "Mixed precision", "choice", "no", "bf16 is about twice as fast where it is supported.",
          choices=_choices("no", "bf16", "fp16"), group="Machine"),
    Field("channels_last", "Channels last", "bool", False, "Memory layout that is faster for convolutions.",
          group="Machine"),
    Field("data_workers", "Data workers", "int", 0, "Processes that decode images; 0: the run's own.", 0, 64,
          group="Machine"),
    Field("cache_images", "Keep images in memory", "bool", True, "Decode once if the set fits.", group="Machine"),
)  # fmt: skip

TRAIN = (
    Field("objective", "Objective", "choice", "supervised", "What the run optimises.",
          choices=tuple((spec.name, spec.title) for spec in OBJECTIVES.values()), group="What"),
    Field("architecture", "Architecture", "text", "squeezenet1_1",
          "Used when the run starts without a classifier: a torchvision classifier by name, or sixconv.",
          group="What"),
    Field("epochs", "Epochs", "int", 10, "Times the run goes through its training images.", 1, 10_000, group="How"),
    Field("max_steps", "Steps", "int", 0,
          "The run ends after so many steps, however many epochs they take; 0: by epochs.", 0, 10**8, group="How"),
    Field("batch_size", "Batch size", "int", 32, "Images a step.", 1, 4096, group="How"),
    Field("optimizer", "Optimiser", "choice", "adam", "", choices=_choices("adam", "adamw", "sgd"), group="How"),
    Field("learning_rate", "Learning rate", "float", 1e-4, "", 1e-8, 10.0, group="How"),
    Field("momentum", "Momentum", "float", 0.9, "Of SGD only.", 0.0, 0.999, group="How"),
    Field("weight_decay", "Weight decay", "float", 0.0, "", 0.0, 1.0, group="How"),
    Field("schedule", "Schedule", "choice", "none", "How the learning rate changes over the run.",
          choices=_choices("none", "step", "cosine"), group="How"),
    Field("schedule_epochs", "Epochs a step of the schedule", "int", 30, "Of the step schedule: ×0.1 after each.",
          1, 10_000, group="How"),
    Field("gradient_norm", "Largest gradient", "float", 0.0,
          "A longer gradient is cut to this total norm; 0: none is, but by a metric that was published with one.",
          0.0, 1e6, group="How"),
    *INPUT,
    Field("flip", "Flip", "bool", True, "Mirror images and their maps at random.", group="Input"),
    Field("random_crop", "Random crop", "bool", False, "Crop images and their maps together at random.",
          group="Input"),
    Field("select", "Keep the epoch with", "choice", "best_accuracy",
          "Measured on the validation part, which holds no rated or drawn image.",
          choices=(("last", "the last"), ("best_accuracy", "the best accuracy"),
                   ("best_attention_iou", "the best attention IoU near the best accuracy"),
                   ("best_score", "the best score among those that agree with the original")), group="Selection"),
    Field("evaluate_steps", "Measure every (steps)", "int", 0,
          "The validation part is measured after so many steps, and any of them can be kept; 0: after each epoch.",
          0, 10_000_000, group="Selection"),
    Field("evaluate_batches", "Measure on (batches)", "int", 0,
          "So many batches of the validation part, always the same ones; 0: all of it.", 0, 1_000_000,
          group="Selection"),
    Field("agreement_guard", "Agree on more than", "float", 0.95,
          "A tuned classifier counts only if it says what the original says on more than this share of images.",
          0.0, 0.999, group="Selection"),
    Field("guard_patience", "Give up after", "int", 0,
          "Measurements one after another that agreed too little; 0: never.", 0, 1_000_000, group="Selection"),
    Field("select_tolerance", "Near the best accuracy means", "float", 0.01, "Share of images, 0.01 = 1 point.",
          0.0, 1.0, group="Selection"),
    Field("select_threshold", "Threshold of the attention IoU", "float", 0.75, "", 0.0, 1.0, group="Selection"),
    Field("early_stop_epochs", "Stop early after", "int", 0,
          "Epochs (or measurements, where they come by steps) without a better one; 0: never.", 0, 10_000,
          group="Selection"),
    Field("evaluate_test", "Final look at the test part", "bool", False,
          "Once, after the epoch was chosen; the log says so.", group="Selection"),
    Field("checkpoint_minutes", "Checkpoint every (minutes)", "float", 10.0,
          "Besides the one after each epoch; the only ones of a run that is measured by steps.",
          0.01, 1440.0, group="Machine"),
    *MACHINE,
)  # fmt: skip

TARGETS = (("true", "the true class"), ("predicted", "the predicted class"), ("given", "a given class"),
           ("second", "the second choice"))  # fmt: skip
PARTS = ("annotation_pool", "validation", "test", "train")
# What an evaluation measures by; every other method is judged by a score run of its maps.
EVALUATED = ("grad_cam", "hires_cam")


def _explain() -> tuple[Field, ...]:
    # Made when asked: what a plug-in registers is a choice too.
    return (
        Field("methods", "Methods", "choices", ("grad_cam",), "How maps are made: one set of maps a method.",
              choices=tuple((spec.name, spec.title) for spec in METHODS.values()), group="What"),
        Field("target", "Class that is explained", "choice", "predicted", "", choices=TARGETS, group="What"),
        Field("target_class", "Given class", "int", 0, "Index of the class, where a given class is explained.", 0,
              1_000_000, group="What"),
        Field("part", "Part", "choice", "annotation_pool", "Part of the partition whose images are explained.",
              choices=_choices(*PARTS, "all"), group="What"),
        Field("batch_size", "Batch size", "int", 32, "", 1, 4096, group="How"),
        *INPUT,
        *MACHINE,
    )  # fmt: skip


def _evaluate() -> tuple[Field, ...]:
    return (
        Field("part", "Part", "choice", "validation", "Part of the partition. A look at the test part is logged.",
              choices=_choices("validation", "test", "annotation_pool", "train"), group="What"),
        Field("method", "Method", "choice", "grad_cam", "How maps are made. Other methods: explain, then score.",
              choices=tuple((name, METHODS[name].title) for name in EVALUATED), group="What"),
        Field("pointing_tolerance", "Tolerance of the pointing game", "float", 15.0,
              "Pixels at the image's own size; 0: inside.", 0.0, 1000.0, group="How"),
        Field("batch_size", "Batch size", "int", 32, "", 1, 4096, group="How"),
        *INPUT,
        *MACHINE,
    )  # fmt: skip


def _score() -> tuple[Field, ...]:
    return (
        Field("metrics", "Metrics", "choices", (), "What is computed for every set of maps.",
              choices=tuple((spec.name, spec.title) for spec in METRICS.values() if spec.needs), group="What"),
        Field("part", "Part", "choice", "all", "Which of the images with maps count. A look at test is logged.",
              choices=_choices("all", *PARTS), group="What"),
        Field("batch_size", "Batch size", "int", 32, "Images at once, where the classifier is asked.", 1, 4096,
              group="How"),
        *MACHINE,
    )  # fmt: skip


KINDS: dict[str, Callable[[], tuple[Field, ...]]] = {
    "train": lambda: TRAIN,
    "explain": _explain,
    "evaluate": _evaluate,
    "score": _score,
}
# Kinds that choose one thing with options of its own, and kinds that choose several.
ONE: dict[str, tuple[str, Mapping[str, Spec]]] = {"train": ("objective", OBJECTIVES), "evaluate": ("method", METHODS)}
SEVERAL: dict[str, tuple[str, Mapping[str, Spec]]] = {"explain": ("methods", METHODS), "score": ("metrics", METRICS)}


def fields_for(kind: str, values: Mapping[str, Any] | None = None) -> tuple[Field, ...]:
    """The fields of a recipe of this kind, the chosen objective's, methods' or metrics' own among them.

    Where several are chosen, an own field is called "<method>.<field>" and its group is the method's title.
    """
    if kind not in KINDS:
        raise RecipeError({"kind": f"“{kind}” is not a kind of run. Known: {', '.join(KINDS)}."})
    common = KINDS[kind]()
    if kind in SEVERAL:
        registry = SEVERAL[kind][1]
        return common + tuple(
            replace(field, name=f"{name}.{field.name}", group=registry[name].title)
            for name in chosen(kind, values or {})
            for field in registry[name].fields
        )
    chooser, specs = ONE[kind]
    default = next(field.default for field in common if field.name == chooser)
    spec = specs.get(str((values or {}).get(chooser) or default))
    if kind == "train":
        others = published(values or {})
        common = tuple(
            replace(field, default=others[field.name]) if field.name in others else field for field in common
        )
    return common + (spec.fields if spec else ())


def chosen(kind: str, values: Mapping[str, Any]) -> list[str]:
    """The methods (or metrics) that a recipe of a kind with several chooses; unknown names are left out."""
    chooser, registry = SEVERAL[kind]
    field = next(field for field in KINDS[kind]() if field.name == chooser)
    given = values.get(chooser)
    if given is None and values.get("method") and kind == "explain":
        given = values["method"]
    given = field.default if given is None else given
    names = given.split(",") if isinstance(given, str) else given
    return list(dict.fromkeys(name for name in (str(item).strip() for item in names) if name in registry))


def own_options(recipe: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The options of one chosen method or metric, by their plain names; empty ones are left to their defaults."""
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): value
        for key, value in recipe.items()
        if key.startswith(prefix) and value not in (None, "")
    }


def upgrade(kind: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe in today's words. Once an explain run had one `method`, whose options had plain names.

    A plain name is still understood: it holds for every chosen method (or metric) that has such an option, unless
    "<method>.<option>" says otherwise. What nobody knows stays, to be refused by its name.
    """
    today = dict(recipe)
    if kind not in SEVERAL:
        return today
    if kind == "explain" and "methods" not in today and "method" in today:
        method = today.pop("method")
        if method not in (None, ""):
            today["methods"] = [str(method)]
    common = {field.name for field in KINDS[kind]()}
    registry = SEVERAL[kind][1]
    having: dict[str, list[str]] = {}
    for name in chosen(kind, today):
        for field in registry[name].fields:
            having.setdefault(field.name, []).append(name)
    for key in [key for key in today if key in having and key not in common]:
        value = today.pop(key)
        for name in having[key]:
            today.setdefault(f"{name}.{key}", value)
    return today


def clean(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The whole recipe with defaults filled in. Raises RecipeError with a sentence for each field."""
    values = upgrade(kind, values)
    recipe = clean_fields(fields_for(kind, values), values)
    errors = {}
    if recipe.get("objective") in ("gradia", "res", "energy") and recipe["attention_weight"] == 0:
        errors["attention_weight"] = "With 0 this objective teaches nothing about attention; choose supervised."
    if kind == "train" and tunes(recipe) != (recipe["select"] == "best_score"):
        errors["select"] = (
            "A tuned classifier is kept by its score, among those that agree with the original: choose the best score."
            if tunes(recipe)
            else "Only a classifier that is tuned for a metric (HARMONY) has a score; choose another rule."
        )
    if kind == "train" and recipe["architecture"] not in _architectures():
        errors["architecture"] = f"“{recipe['architecture']}” is neither a torchvision classifier nor sixconv."
    if kind == "train" and tunes(recipe):
        try:
            options_of(recipe["metric"], recipe["metric_options"])
        except ValueError as error:
            errors["metric_options"] = str(error)
    for name in recipe.get("methods", ()):
        if "attention" in METHODS[name].needs:
            errors["methods"] = (
                f"{METHODS[name].title} needs a trained attention module; runs have none to give it yet, "
                "so choose another method."
            )
    if errors:
        raise RecipeError(errors)
    return recipe


def _architectures() -> tuple[str, ...]:
    from mlcore.catalogue.architectures import ARCHITECTURES

    return ARCHITECTURES


@dataclass(frozen=True)
class Difference:
    """One line of a recipe as a reader sees it."""

    field: Field
    value: Any
    is_default: bool


def differences(kind: str, recipe: Mapping[str, Any]) -> list[Difference]:
    """The recipe as a readable list, each value marked where it differs from the default."""
    recipe = upgrade(kind, recipe)
    lines = []
    for field in fields_for(kind, recipe):
        default = list(field.default) if field.kind == "choices" else field.default
        value = recipe.get(field.name, default)
        lines.append(Difference(field, value, value in (None, default)))
    return lines
