"""Recipes: every option of a run, checked. A recipe is a flat dictionary; what a run does follows from it,
its manifest, its classifier and its seed alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlcore.catalogue.correspond import correspond_fields
from mlcore.catalogue.fields import Field, RecipeError, clean_fields
from mlcore.catalogue.learnable import options_of
from mlcore.catalogue.matchers import MATCHERS
from mlcore.catalogue.methods import METHODS
from mlcore.catalogue.metrics import METRICS
from mlcore.catalogue.objectives import OBJECTIVES
from mlcore.catalogue.recipe_fields import (
    EVALUATED,
    INPUT,
    LABELS,
    MACHINE,
    OWN_INPUT,
    PARTS,
    RATES,
    REPORTED,
    TARGETS,
    TRAIN,
    choices_of,
)
from mlcore.catalogue.scale import scale_errors
from mlcore.catalogue.schedule import epochs_of
from mlcore.catalogue.several import by_precision, several, why_not_several
from mlcore.catalogue.spec import Spec
from mlcore.catalogue.tuning import TRAINS, makes_attention, makes_beside, makes_network, published, rules, tunes


def _explain() -> tuple[Field, ...]:
    # Made when asked: what a plug-in registers is a choice too.
    return (
        Field("methods", "Methods", "choices", ("grad_cam",), "How maps are made: one set of maps a method.",
              choices=tuple((spec.name, spec.title) for spec in METHODS.values()), group="What"),
        Field("target", "Class that is explained", "choice", "predicted", "", choices=TARGETS, group="What"),
        Field("target_class", "Given class", "int", 0, "Index of the class, where a given class is explained.", 0,
              1_000_000, group="What"),
        Field("part", "Part", "choice", "annotation_pool", "Part of the partition whose images are explained.",
              choices=choices_of(*PARTS, "all"), group="What"),
        LABELS,
        Field("batch_size", "Batch size", "int", 32, "", 1, 4096, group="How"),
        *INPUT,
        *MACHINE,
    )  # fmt: skip


def _evaluate() -> tuple[Field, ...]:
    return (
        Field("part", "Part", "choice", "validation", "Part of the partition. A look at the test part is logged.",
              choices=choices_of("validation", "test", "annotation_pool", "train"), group="What"),
        Field("method", "Method", "choice", "grad_cam", "How maps are made. Other methods: explain, then score.",
              choices=tuple((name, METHODS[name].title) for name in EVALUATED), group="What"),
        LABELS,
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
              choices=choices_of("all", *PARTS), group="What"),
        Field("batch_size", "Batch size", "int", 32, "Images at once, where the classifier is asked.", 1, 4096,
              group="How"),
        *MACHINE,
    )  # fmt: skip


def _report() -> tuple[Field, ...]:
    return (
        Field("methods", "Methods", "choices", ("grad_cam", *baselines()),
              "How maps are made, for every classifier. The baselines are always there.",
              choices=tuple((spec.name, spec.title) for spec in METHODS.values()), group="What"),
        Field("metrics", "Metrics", "choices", REPORTED, "What is computed for every set of maps.",
              choices=tuple((spec.name, spec.title) for spec in METRICS.values()
                            if spec.needs and "person" not in spec.needs), group="What"),
        Field("accuracy", "Accuracy", "bool", True, "Of every classifier, on the same images.", group="What"),
        Field("target", "Class that is explained", "choice", "true",
              "The pointing games ask for the true class; average drop is published for the predicted one.",
              choices=tuple(choice for choice in TARGETS if choice[0] in ("true", "predicted")), group="What"),
        Field("part", "Part", "choice", "validation", "Which images. A look at the test part is logged.",
              choices=choices_of(*PARTS, "all"), group="What"),
        Field("batch_size", "Batch size", "int", 32, "", 1, 4096, group="How"),
        *OWN_INPUT,
        *MACHINE,
    )  # fmt: skip


def baselines() -> tuple[str, ...]:
    """Names of the methods that look at no classifier."""
    return tuple(spec.name for spec in METHODS.values() if spec.baseline)


KINDS: dict[str, Callable[[], tuple[Field, ...]]] = {
    "train": lambda: TRAIN,
    "explain": _explain,
    "evaluate": _evaluate,
    "score": _score,
    "report": _report,
    "correspond": correspond_fields,
    "lr_test": lambda: (*TRAIN, *RATES),
}
# Kinds that choose one thing with options of its own, and kinds that choose several.
ONE: dict[str, tuple[str, Mapping[str, Spec]]] = {
    "train": ("objective", OBJECTIVES),
    "lr_test": ("objective", OBJECTIVES),
    "evaluate": ("method", METHODS),
}
SEVERAL: dict[str, dict[str, Mapping[str, Spec]]] = {
    "explain": {"methods": METHODS},
    "score": {"metrics": METRICS},
    "report": {"methods": METHODS, "metrics": METRICS},
    "correspond": {"matchers": MATCHERS},
}


def fields_for(kind: str, values: Mapping[str, Any] | None = None) -> tuple[Field, ...]:
    """The fields of a recipe of this kind, the chosen objective's, methods' or metrics' own among them.

    Where several are chosen, an own field is called "<method>.<field>" and its group is the method's title.
    """
    if kind not in KINDS:
        raise RecipeError({"kind": f"“{kind}” is not a kind of run. Known: {', '.join(KINDS)}."})
    common = KINDS[kind]()
    if kind in SEVERAL:
        return common + tuple(
            replace(field, name=f"{name}.{field.name}", group=registry[name].title)
            for chooser, registry in SEVERAL[kind].items()
            for name in chosen(kind, values or {}, chooser)
            for field in registry[name].fields
        )
    chooser, specs = ONE[kind]
    default = next(field.default for field in common if field.name == chooser)
    spec = specs.get(str((values or {}).get(chooser) or default))
    own = common + (spec.fields if spec else ())
    if kind in TRAINS:
        others = published(values or {})
        own = tuple(replace(field, default=others[field.name]) if field.name in others else field for field in own)
        if several(values or {}):
            own = tuple(by_precision(field) for field in own)
        if makes_beside(values or {}):
            words = "the highest PCK@0.1" if makes_network(values or {}) else "the lowest average drop at 50 %"
            own = tuple(_by_score(field, words) if field.name == "select" else field for field in own)
    return own


def _by_score(field: Field, best: str) -> Field:
    """The choice of an epoch of what is trained beside a classifier, which has a score of its own."""
    words = {"best_score": best}
    return replace(field, choices=tuple((name, words.get(name, said)) for name, said in field.choices))


def chosen(kind: str, values: Mapping[str, Any], chooser: str = "") -> list[str]:
    """The methods (or metrics) that a recipe of a kind with several chooses; unknown names are left out.

    A report chooses both; `chooser` says which.
    """
    chooser = chooser or next(iter(SEVERAL[kind]))
    registry = SEVERAL[kind][chooser]
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
    if kind == "report":
        today = _with_baselines(today)
    common = {field.name for field in KINDS[kind]()}
    having: dict[str, list[str]] = {}
    for chooser, registry in SEVERAL[kind].items():
        for name in chosen(kind, today, chooser):
            for field in registry[name].fields:
                having.setdefault(field.name, []).append(name)
    for key in [key for key in today if key in having and key not in common]:
        value = today.pop(key)
        for name in having[key]:
            today.setdefault(f"{name}.{key}", value)
    return today


def _with_baselines(recipe: dict[str, Any]) -> dict[str, Any]:
    given = recipe.get("methods")
    names = given.split(",") if isinstance(given, str) else list(given or ())
    names = [name for name in (str(item).strip() for item in names) if name]
    # None chosen is refused; a report of baselines alone says nothing of a classifier.
    return recipe | {"methods": [*names, *(name for name in baselines() if name not in names)]} if names else recipe


def clean(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The whole recipe with defaults filled in. Raises RecipeError with a sentence for each field."""
    values = upgrade(kind, values)
    recipe = clean_fields(fields_for(kind, values), values)
    errors = {}
    if recipe.get("objective") in ("gradia", "res", "energy") and recipe["attention_weight"] == 0:
        errors["attention_weight"] = "With 0 this objective teaches nothing about attention; choose supervised."
    if kind == "train" and recipe["select"] not in rules(recipe):
        errors["select"] = _not_by_this_rule(recipe)
    if kind in TRAINS and recipe["optimizer"] == "sgd" and recipe["nesterov"] and not recipe["momentum"]:
        errors["nesterov"] = "Nesterov's momentum needs a momentum above 0."
    if kind == "lr_test" and not recipe["low"] < recipe["high"]:
        errors["high"] = "The highest rate must be above the lowest."
    if kind == "lr_test" and recipe["steps"] == 1:
        errors["steps"] = "A test of learning rates needs 2 steps or more; 0 is one epoch."
    if makes_attention(recipe):
        errors |= _of_layers(recipe)
    if kind in TRAINS and recipe["architecture"] not in _architectures():
        errors["architecture"] = f"“{recipe['architecture']}” is neither a torchvision classifier nor sixconv."
    if kind in TRAINS:
        errors |= _of_labels_and_schedule(recipe)
    if kind == "train":
        errors |= scale_errors(recipe)
    if kind in TRAINS and tunes(recipe):
        try:
            options_of(recipe["metric"], recipe["metric_options"])
        except ValueError as error:
            errors["metric_options"] = str(error)
    if kind == "report" and 0 < recipe["image_size"] < INPUT[0].minimum:  # type: ignore[operator]
        errors["image_size"] = f"The smallest input size is {INPUT[0].minimum}; 0 is each classifier's own."
    if kind == "correspond" and recipe["votes"] > recipe["candidates"]:
        errors["votes"] = f"Of {recipe['candidates']} candidates, at most so many can vote."
    if errors:
        raise RecipeError(errors)
    return recipe


def _not_by_this_rule(recipe: Mapping[str, Any]) -> str:
    if tunes(recipe):
        return (
            "A tuned classifier is kept by its score, among those that agree with the original: choose the best score."
        )
    if makes_attention(recipe):
        return "An attention module is kept by the last epoch, or by the best score: its lowest average drop at 50 %."
    if makes_network(recipe):
        return "A correspondence network is kept by the last epoch, or by the best score: its highest PCK@0.1."
    return "This objective has no score of its own; choose another rule."


def _of_layers(recipe: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the layers of an attention module, as far as can be said without the classifier."""
    layers = [name.strip() for name in recipe["layers"].split(",")] if recipe["layers"].strip() else []
    if not layers:
        return {}
    if not all(layers):
        return {"layers": f"“{recipe['layers']}” names a layer of no name; write them as layer2,layer3,layer4."}
    if recipe["variant"] == "l_cam":
        return {} if len(layers) == 1 else {"layers": f"L-CAM reads one layer, not {len(layers)}."}
    return {} if 2 <= len(layers) <= 4 else {"layers": f"TAME reads 2 to 4 layers, not {len(layers)}."}


def _of_labels_and_schedule(recipe: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with several labels an image, and with the epochs of the step schedule."""
    errors = {}
    why = why_not_several(recipe)
    if why:
        errors["labels"] = why
    elif several(recipe) and recipe["bce_weight"] == 0:
        errors["bce_weight"] = "With 0 nothing is learned about the labels."
    try:
        epochs_of(recipe["schedule_at"])
    except ValueError as error:
        errors["schedule_at"] = str(error)
    return errors


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
        # A form sends what was chosen in its own order.
        same = field.kind == "choices" and value is not None and sorted(value) == sorted(default)
        lines.append(Difference(field, value, same or value in (None, default)))
    return lines
