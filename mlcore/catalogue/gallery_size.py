"""How large the features of an image set are, before they are computed; torch-free, so that forms can say it."""

from collections.abc import Iterable, Mapping
from typing import Any

from mlcore.catalogue.architectures import GLOBAL_MAX_POOL

HALF = 2  # bytes of a number in half precision
# What a block of a gallery's file says of itself, an image: its UUID and the hash of its picture.
ROW_BYTES = 120

# What the classifier's head pools, by the beginning of its architecture's name; the longer beginning wins.
_LAST = {
    "convnext": "features",
    "alexnet": "features",
    "densenet": "features",
    "efficientnet": "features",
    "googlenet": "inception5b",
    "inception_v3": "Mixed_7c",
    "maxvit": "blocks.3",
    "mnasnet": "layers",
    "mobilenet": "features",
    "regnet": "trunk_output",
    "resnet": "layer4",
    "resnext": "layer4",
    "wide_resnet": "layer4",
    "shufflenet": "conv5",
    "sixconv": "features",
    "squeezenet": "features",
    "swin": "permute",
    "vgg": "features",
    "vit": "encoder.ln",
}


def size_of(images: int, channels: int, height: int, width: int) -> int:
    """Bytes on the disk: cells and their mean in half precision, and what is said of each image."""
    return images * (HALF * channels * (height * width + 1) + ROW_BYTES)


def last_layer_of(architecture: str) -> str:
    """Name of the last layer with cells, as `mlcore.correspondence.features.last_spatial_layer` finds it.

    Raises ValueError for an architecture of no known family.
    """
    name = architecture.removesuffix(GLOBAL_MAX_POOL)
    for beginning, layer in _LAST.items():
        if name.startswith(beginning):
            return layer
    raise ValueError(f"The last layer of “{architecture}” is not known: name the layer.")


def shape_of(layers: Iterable[Mapping[str, Any]], layer: str) -> tuple[int, int, int] | None:
    """(channels, height, width) of a layer among a classifier's listed ones (`Classifier.layers`); None where it is
    not listed."""
    for row in layers:
        if row["name"] == layer:
            return int(row["channels"]), int(row["height"]), int(row["width"])
    return None
