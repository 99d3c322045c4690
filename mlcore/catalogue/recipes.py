"""Recipes: every option of a run, checked. A recipe is a flat dictionary; what a run does follows from it,
its manifest, its classifier and its seed alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlcore.catalogue.fields import Field, RecipeError, clean_fields
from mlcore.catalogue.methods import METHODS
from mlcore.catalogue.objectives import OBJECTIVES


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
    Field("batch_size", "Batch size", "int", 32, "Images a step.", 1, 4096, group="How"),
    Field("optimizer", "Optimiser", "choice", "adam", "", choices=_choices("adam", "adamw", "sgd"), group="How"),
    Field("learning_rate", "Learning rate", "float", 1e-4, "", 1e-8, 10.0, group="How"),
    Field("momentum", "Momentum", "float", 0.9, "Of SGD only.", 0.0, 0.999, group="How"),
    Field("weight_decay", "Weight decay", "float", 0.0, "", 0.0, 1.0, group="How"),
    Field("schedule", "Schedule", "choice", "none", "How the learning rate changes over the run.",
          choices=_choices("none", "step", "cosine"), group="How"),
    Field("schedule_epochs", "Epochs a step of the schedule", "int", 30, "Of the step schedule: ×0.1 after each.",
          1, 10_000, group="How"),
    *INPUT,
    Field("flip", "Flip", "bool", True, "Mirror images and their maps at random.", group="Input"),
    Field("random_crop", "Random crop", "bool", False, "Crop images and their maps together at random.",
          group="Input"),
    Field("select", "Keep the epoch with", "choice", "best_accuracy",
          "Measured on the validation part, which holds no rated or drawn image.",
          choices=(("last", "the last"), ("best_accuracy", "the best accuracy"),
                   ("best_attention_iou", "the best attention IoU near the best accuracy")), group="Selection"),
    Field("select_tolerance", "Near the best accuracy means", "float", 0.01, "Share of images, 0.01 = 1 point.",
          0.0, 1.0, group="Selection"),
    Field("select_threshold", "Threshold of the attention IoU", "float", 0.75, "", 0.0, 1.0, group="Selection"),
    Field("early_stop_epochs", "Stop early after", "int", 0, "Epochs without a better one; 0: never.", 0, 10_000,
          group="Selection"),
    Field("evaluate_test", "Final look at the test part", "bool", False,
          "Once, after the epoch was chosen; the log says so.", group="Selection"),
    Field("checkpoint_minutes", "Checkpoint every (minutes)", "float", 10.0, "Besides the one after each epoch.",
          0.01, 1440.0, group="Machine"),
    *MACHINE,
)  # fmt: skip

EXPLAIN = (
    Field("method", "Method", "choice", "grad_cam", "How maps are made.",
          choices=tuple((spec.name, spec.title) for spec in METHODS.values()), group="What"),
    Field("target", "Class that is explained", "choice", "predicted", "",
          choices=(("true", "the true class"), ("predicted", "the predicted class"), ("given", "a given class"),
                   ("second", "the second choice")), group="What"),
    Field("target_class", "Given class", "int", 0, "Index of the class, where a given class is explained.", 0,
          1_000_000, group="What"),
    Field("part", "Part", "choice", "annotation_pool", "Part of the partition whose images are explained.",
          choices=_choices("annotation_pool", "validation", "test", "train", "all"), group="What"),
    Field("batch_size", "Batch size", "int", 32, "", 1, 4096, group="How"),
    *INPUT,
    *MACHINE,
)  # fmt: skip

EVALUATE = (
    Field("part", "Part", "choice", "validation", "Part of the partition. A look at the test part is logged.",
          choices=_choices("validation", "test", "annotation_pool", "train"), group="What"),
    Field("method", "Method", "choice", "grad_cam", "How maps are made.",
          choices=tuple((spec.name, spec.title) for spec in METHODS.values()), group="What"),
    Field("pointing_tolerance", "Tolerance of the pointing game", "float", 15.0,
          "Pixels at the image's own size; 0: inside.", 0.0, 1000.0, group="How"),
    Field("batch_size", "Batch size", "int", 32, "", 1, 4096, group="How"),
    *INPUT,
    *MACHINE,
)  # fmt: skip

KINDS = {"train": TRAIN, "explain": EXPLAIN, "evaluate": EVALUATE}


def fields_for(kind: str, values: Mapping[str, Any] | None = None) -> tuple[Field, ...]:
    """The fields of a recipe of this kind, the chosen objective's or method's own among them."""
    if kind not in KINDS:
        raise RecipeError({"kind": f"“{kind}” is not a kind of run. Known: {', '.join(KINDS)}."})
    common = KINDS[kind]
    chooser, registry = ("objective", OBJECTIVES) if kind == "train" else ("method", METHODS)
    default = next(field.default for field in common if field.name == chooser)
    chosen = registry.get(str((values or {}).get(chooser) or default))
    return common + (chosen.fields if chosen else ())


def clean(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The whole recipe with defaults filled in. Raises RecipeError with a sentence for each field."""
    recipe = clean_fields(fields_for(kind, values), values)
    errors = {}
    if recipe.get("objective") in ("gradia", "res", "energy") and recipe["attention_weight"] == 0:
        errors["attention_weight"] = "With 0 this objective teaches nothing about attention; choose supervised."
    if kind == "train" and recipe["architecture"] not in _architectures():
        errors["architecture"] = f"“{recipe['architecture']}” is neither a torchvision classifier nor sixconv."
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
    return [
        Difference(field, recipe.get(field.name, field.default), recipe.get(field.name) in (None, field.default))
        for field in fields_for(kind, recipe)
    ]
