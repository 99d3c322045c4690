"""The fields of every recipe, by what a run does: input, machine, training; and what is chosen from."""

from mlcore.catalogue.fields import Field
from mlcore.catalogue.objectives import OBJECTIVES
from mlcore.catalogue.scale import SCALE


def choices_of(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, name.replace("_", " ")) for name in names)


INPUT = (
    Field("image_size", "Input size", "int", 224, "Side of the square input in pixels.", 16, 1024, group="Input"),
    Field(
        "resize", "Resize", "choice", "squash",
        "squash: to the square without keeping the aspect (GRADIA); crop: short side, then the centre; "
        "none: images already have the input size.",
        choices=choices_of("squash", "crop", "none"), group="Input",
    ),
    Field(
        "normalise", "Normalise", "choice", "imagenet", "Mean and deviation of ImageNet, or only 0…1.",
        choices=choices_of("imagenet", "none"), group="Input",
    ),
)  # fmt: skip

LABELS = Field(
    "labels", "Labels an image", "choice", "one",
    "one: images of one label each; several: every label of an image is learned or asked for.",
    choices=(("one", "one"), ("several", "several")), group="What",
)  # fmt: skip

# Of a run of several classifiers: each has its own way of reading pictures, which these change for all of them.
OWN_INPUT = (
    Field("image_size", "Input size", "int", 0, "Side of the square input in pixels; 0: each classifier's own.", 0,
          1024, group="Input"),
    *(
        Field(field.name, field.label, "choice", "own", f"own: each classifier's own. {field.help}",
              choices=(("own", "own"), *field.choices), group="Input")
        for field in INPUT[1:]
    ),
)  # fmt: skip

MACHINE = (
    Field("device", "Device", "choice", "auto", "auto takes a GPU where there is one.",
          choices=choices_of("auto", "cpu", "cuda"), group="Machine"),
    Field("mixed_precision", "Mixed precision", "choice", "no", "bf16 is about twice as fast where it is supported.",
          choices=choices_of("no", "bf16", "fp16"), group="Machine"),
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
    LABELS,
    Field("shards", "Shards", "text", "",
          "Train on tar shards below SHARDS_DIR instead of the part train: a folder, or a pattern such as "
          "train-{000000..000146}.tar.", group="What"),
    Field("epochs", "Epochs", "int", 10, "Times the run goes through its training images.", 1, 10_000, group="How"),
    Field("max_steps", "Steps", "int", 0,
          "The run ends after so many steps, however many epochs they take; 0: by epochs.", 0, 10**8, group="How"),
    Field("batch_size", "Batch size", "int", 32, "Images a step.", 1, 4096, group="How"),
    Field("fit_batch_size", "Fit into memory", "bool", False,
          "Where a batch does not fit, compute it in parts of the largest power of two that does.", group="How"),
    Field("optimizer", "Optimiser", "choice", "adam", "", choices=choices_of("adam", "adamw", "sgd"), group="How"),
    Field("learning_rate", "Learning rate", "float", 1e-4, "", 1e-8, 10.0, group="How"),
    Field("momentum", "Momentum", "float", 0.9, "Of SGD only.", 0.0, 0.999, group="How"),
    Field("nesterov", "Nesterov's momentum", "bool", False, "Of SGD only.", group="How"),
    Field("weight_decay", "Weight decay", "float", 0.0, "", 0.0, 1.0, group="How"),
    Field("schedule", "Schedule", "choice", "none", "How the learning rate changes over the run.",
          choices=choices_of("none", "step", "cosine", "one_cycle"), group="How"),
    Field("schedule_epochs", "Epochs a step of the schedule", "int", 30, "Of the step schedule: ×0.1 after each.",
          1, 10_000, group="How"),
    Field("schedule_at", "Steps of the schedule after", "text", "",
          "Of the step schedule: epochs after which ×0.1, such as 24,30; empty: after every so many.", group="How"),
    Field("bce_weight", "Weight of binary cross-entropy", "float", 80.0,
          "Of several labels an image only: times its mean over images and classes.", 0.0, 100_000.0, group="How"),
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
    *SCALE,
)  # fmt: skip

# What a test of learning rates has besides (definitions §4).
RATES = (
    Field("low", "Lowest rate", "float", 1e-8, "Where the rates begin.", 1e-12, 10.0, group="Rates"),
    Field("high", "Highest rate", "float", 10.0, "Where they end, unless the loss rises too far before.", 1e-11, 1000.0,
          group="Rates"),
    Field("steps", "Steps of the test", "int", 0, "Each at a rate of its own; 0: one epoch.", 0, 1_000_000,
          group="Rates"),
    Field("beta", "Smoothing, β", "float", 0.0,
          "The weight of the losses before in their average; 0: what suits the number of steps, at most the published "
          "0.999.", 0.0, 0.99999, group="Rates"),
    Field("stop_at", "Stop at", "float", 4.0, "The test ends where the smoothed loss is so many times its best.",
          1.01, 1e6, group="Rates"),
)  # fmt: skip

TARGETS = (("true", "the true class"), ("predicted", "the predicted class"), ("given", "a given class"),
           ("second", "the second choice"))  # fmt: skip
PARTS = ("annotation_pool", "validation", "test", "train")
# What an evaluation measures by; every other method is judged by a score run of its maps.
EVALUATED = ("grad_cam", "hires_cam")
# What a report measures unless asked otherwise. ROAD asks the classifier eleven times a map and stays off.
REPORTED = (
    "pointing",
    "stochastic_pointing",
    "content_heat_map",
    "average_drop",
    "average_drop_50",
    "average_drop_15",
    "increase_in_confidence",
    "increase_in_confidence_50",
    "increase_in_confidence_15",
)
