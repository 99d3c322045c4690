"""Weights in and out of files, without ever running code that a file brings along."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from mlcore.attribution.files import written_whole

SUFFIXES = (".safetensors", ".npz", ".pt", ".pth")
WRAPPERS = ("state_dict", "model_state_dict", "model")


def load_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict from .safetensors, .npz, .pt or .pth onto the CPU.

    Half-precision arrays of an .npz become float32. A .pt may hold the state dict itself or wrap it under
    ``state_dict``; the prefix ``module.`` that DataParallel leaves is dropped. Pickles are read with
    ``weights_only=True``: one that asks for anything but tensors is refused by name.

    Raises ValueError with a plain sentence when the file is missing, damaged, refused or holds no weights.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path.name}: weights must be a file ending in {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise ValueError(f"{path.name}: the weights file does not exist.")
    try:
        if suffix == ".safetensors":
            found: Any = load_file(path)
        elif suffix == ".npz":
            found = _read_npz(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file fails its reader in any way it likes
        if isinstance(error, pickle.UnpicklingError) and "global" in str(error).lower():
            raise ValueError(
                f"{path.name}: refused, because the file holds more than weights and could run code. "
                "Save the model's state_dict, or use .safetensors."
            ) from error
        raise ValueError(f"{path.name}: the file is damaged or not of its kind ({_first_line(error)}).") from error
    state = _unwrap(found)
    if not state:
        raise ValueError(f"{path.name}: the file holds no weights.")
    return state


def _read_npz(path: Path) -> dict[str, torch.Tensor]:
    with np.load(path, allow_pickle=False) as arrays:
        read = {name: arrays[name] for name in arrays.files}
    return {
        name: torch.from_numpy(np.array(array, dtype=np.float32 if array.dtype.kind == "f" else array.dtype))
        for name, array in read.items()
    }


def _unwrap(found: Any) -> dict[str, torch.Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping):
        return {}
    return {
        str(name).removeprefix("module."): value for name, value in found.items() if isinstance(value, torch.Tensor)
    }


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def load_into(model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Load a state dict strictly, as one of the model's own making: some classifiers (MNASNet) ask for the version that
    they themselves write beside the tensors, which files do not keep."""
    known = OrderedDict(state)
    known._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(known, strict=True)


def save_weights(model: nn.Module | Mapping[str, torch.Tensor], path: str | Path) -> Path:
    """Write a model's state dict as safetensors, whole or not at all.

    Raises OSError where the disk refuses; an older file survives that.
    """
    path = Path(path)
    state = model.state_dict() if isinstance(model, nn.Module) else model
    # Tied tensors would be refused by safetensors, and channels-last ones have to be laid out plainly.
    plain = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in state.items()}
    try:
        with written_whole(path) as temporary:
            save_file(plain, temporary)
    except SafetensorError as error:
        raise OSError(f"{path.name}: the weights could not be written ({_first_line(error)}).") from error
    return path
