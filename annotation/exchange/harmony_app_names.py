"""Names of the released harmony_app (davor10105/harmony_app) and ours: metrics, methods, classifiers, data sets.

Its rows name a metric by the class that tuned for it (`FocusLearnableMetric`), a method by the class that made the
map (`GradCamAttributor`). Names that it does not have are made in its manner, and read back the same way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

APP = "relevavance"  # the spelling is theirs
TABLES = {
    "dataset": f"{APP}.dataset",
    "experiment": f"{APP}.experiment",
    "cnn_model": f"{APP}.cnnmodel",
    "relevancy_method": f"{APP}.relevancymethod",
}
"""Field of an example → the model that it points to."""
EXAMPLE = f"{APP}.example"
PICTURES = ("image", "original", "learn")
"""Fields of an example that name a picture; `learn` is the tuned classifier's map."""
CHOICES = {"original": "original", "neither": "neither", "learn": "tuned"}
"""Choice of a label → our condition (`neither` is no condition)."""
FOLDER = "learnable_metric_image_data_fast"

METRICS = {
    "road": "ROADLearnableMetric",
    "irof": "IROFLearnableMetric",
    "input_stability": "ISLearnableMetric",
    "focus": "FocusLearnableMetric",
    "rma": "IoULearnableMetric",
    "relative_input_stability": "RISLearnableMetric",
}
METHODS = {
    "grad_cam": "GradCamAttributor",
    "excitation_backprop": "ExcitationBackpropAttributor",
    "guided_backprop": "GuidedBackpropAttributor",
    "lrp": "LRPAttributor",
}
MODELS = {"vgg16": "VGG", "resnet18": "ResNet"}
# The keys that these names have in the released database: a fixture of ours may be loaded beside its own.
KEYS: Mapping[str, tuple[str, ...]] = {
    "dataset": ("ImageNet", "PascalVOC"),
    "experiment": tuple(METRICS[name] for name in ("road", "irof", "input_stability", "focus", "rma")),
    "relevancy_method": tuple(METHODS[name] for name in ("grad_cam", "excitation_backprop", "guided_backprop")),
    "cnn_model": ("VGG", "ResNet"),
}
"""Names in the order of their keys, from 1 on."""

METRIC_ENDING, METHOD_ENDING = "LearnableMetric", "Attributor"


def metric_name(metric: str) -> str:
    """`rma` → `IoULearnableMetric`; names that they do not have in their manner: `complexity` →
    `ComplexityLearnableMetric`."""
    return METRICS.get(metric) or camel(metric) + METRIC_ENDING


def metric_of(name: str) -> str:
    """The other way round: `IoULearnableMetric` → `rma`."""
    return _of(name, METRICS, METRIC_ENDING)


def method_name(method: str) -> str:
    """`grad_cam` → `GradCamAttributor`."""
    return METHODS.get(method) or camel(method) + METHOD_ENDING


def method_of(name: str) -> str:
    """`GradCamAttributor` → `grad_cam`."""
    return _of(name, METHODS, METHOD_ENDING)


def model_name(architecture: str) -> str:
    """`vgg16` → `VGG`; every other architecture keeps its name."""
    return MODELS.get(architecture, architecture)


def model_of(name: str) -> str:
    """`VGG` → `vgg16`."""
    return {theirs: ours for ours, theirs in MODELS.items()}.get(name, name)


def camel(name: str) -> str:
    """`input_x_gradient` → `InputXGradient`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _of(name: str, table: Mapping[str, str], ending: str) -> str:
    known = {theirs: ours for ours, theirs in table.items()}
    if name in known:
        return known[name]
    stem = name.removesuffix(ending)
    # A new word starts at a capital letter; "XGradient" is x_gradient.
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", stem).lower()
