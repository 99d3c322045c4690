"""Trained modules as safetensors files that say of themselves what they fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mlcore.attribution.files import order_header, written_whole


def save_module(module: nn.Module, path: str | Path, said: Mapping[str, str], *, what: str) -> Path:
    """Write a module's weights and what is said of them, whole or not at all. what: “the attention”. Raises OSError."""
    path = Path(path)
    state = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in module.state_dict().items()}
    try:
        with written_whole(path) as temporary:
            save_file(state, temporary, metadata=dict(said))
            order_header(temporary)
    except SafetensorError as error:
        raise OSError(f"{path.name}: {what} could not be written ({error}).") from error
    return path


def read_module(path: str | Path, *, format: str, what: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What a file says of itself and its weights, on the CPU. format: what it must say it is; what: “attention module”.

    Raises ValueError with one sentence where the file is missing, damaged, or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path.name}: the file of the {what} does not exist.")
    try:
        with safe_open(path, "pt") as file:
            said = dict(file.metadata() or {})
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path.name}: the file is damaged or no safetensors ({error}).") from error
    if said.get("format") != format:
        article = "an" if what[0] in "aeiou" else "a"
        raise ValueError(f"{path.name}: the file says nothing of {article} {what}; was it saved as one?")
    return said, state


def fill(module: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Weights of `read_module` into a module that was made as its file says. Raises ValueError."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{Path(path).name}: the weights do not fit what the file says of itself.") from error
