"""``python -m mlcore.training.convert IN OUT [--architecture NAME [--padding tensorflow]]``

Rewrites weights of any kind that `load_weights` reads as safetensors in float32. With an architecture it also
builds the classifier from them, strictly, so that a file that does not fit is refused now and not at the next
run. A process of its own: the one that serves pages never loads torch.

Exit 0, or 1 with one plain sentence on stderr.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from mlcore.training.classifiers import build, head_of, load_weights, save_weights


def convert(source: Path, target: Path, *, architecture: str | None = None, padding: str = "torch") -> int | None:
    """Writes `target`; the number of classes is returned where an architecture says which layer decides it.

    Raises ValueError with a sentence for weights that are damaged, refused, not finite or do not fit.
    """
    state = _load(source)
    for name, value in state.items():
        if value.is_floating_point():
            state[name] = value = value.float()
            if not bool(torch.isfinite(value).all()):
                raise ValueError(f"{source.name}: {name} holds values that are not finite.")
    classes = None
    if architecture is not None:
        classes = _classes(state, architecture, source.name)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        written = save_weights(state, Path(folder) / "converted.safetensors")
        if architecture is not None and classes is not None:
            try:
                build(architecture, classes, weights=written, padding=padding)
            except ValueError as error:  # it names the file that we wrote; the person knows the other one
                raise ValueError(str(error).replace(written.name, source.name)) from error
        written.replace(target)
    return classes


def _load(source: Path) -> dict[str, torch.Tensor]:
    if source.suffix.lower() != ".tar":
        return load_weights(source)
    # “checkpoint.pth.tar” is a habit of the ImageNet example: a .pth by another name.
    with tempfile.TemporaryDirectory() as folder:
        renamed = Path(folder) / f"{source.stem.removesuffix('.pth')}.pth"
        renamed.symlink_to(source.resolve())
        return load_weights(renamed)


def _head(architecture: str) -> str:
    try:
        with torch.device("meta"):
            return head_of(build(architecture, 2))[0]
    except NotImplementedError:  # RegNet computes its widths with tensors, which meta tensors cannot
        return head_of(build(architecture, 2))[0]


def _classes(state: dict[str, torch.Tensor], architecture: str, file: str) -> int:
    head = _head(architecture)
    weight = state.get(f"{head}.weight")
    if weight is None:
        raise ValueError(f"{file}: the weights do not fit {architecture}: {head}.weight missing.")
    return int(weight.shape[0])


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status is returned."""
    parser = argparse.ArgumentParser(prog="python -m mlcore.training.convert", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--architecture")
    parser.add_argument("--padding", choices=["torch", "tensorflow"], default="torch")
    given = parser.parse_args(arguments)
    try:
        convert(given.source, given.target, architecture=given.architecture, padding=given.padding)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
