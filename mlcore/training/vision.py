"""The safe import of torchvision.

``import torchvision`` registers fake kernels for operators of its compiled part while it loads. Where the
compiled part does not fit the installed torch (a CUDA build of it beside a CPU build of torch), the
operators are unknown and the import stops with ``operator torchvision::nms does not exist``, although
models, transforms and feature extraction need none of them. Here the schemas of the two operators are
declared and the import is tried again. On a proper installation the first import succeeds and nothing else
happens.

Everything in this project imports torchvision as ``from mlcore.training.vision import torchvision``, and
before any library that imports torchvision by itself (timm, torchmetrics). ``torchvision.io.decode_jpeg``
and the detection models stay unusable on such an installation; pictures are decoded by Pillow.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import torch

# A Library object unregisters its definitions when it is collected, so it has to live as long as the process.
_declared: list[Any] = []


def import_torchvision() -> ModuleType:
    """Import torchvision; where its compiled operators are absent, declare their schemas and import again.

    Raises whatever the import raises, except for the one missing operator this module knows how to supply.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]
    if not _declared:
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
    return importlib.import_module("torchvision")


torchvision: Any = import_torchvision()
