"""What a classifier looked at: one method a file.

    from mlcore.attribution import explain
    maps = explain(model, images, targets)                      # Grad-CAM, (B, h, w)
    maps = explain(model, images, targets, preset="gradia")     # the options of the method

Importing this package costs nothing; torch is loaded when a method is first used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["METHODS", "explain"]


class _Methods(Mapping[str, Any]):
    """Method classes by name; each is imported when it is asked for."""

    def __init__(self, paths: dict[str, str]) -> None:
        self._paths = paths

    def __getitem__(self, name: str) -> Any:
        if name not in self._paths:
            raise KeyError(f"There is no method “{name}”; there are {', '.join(sorted(self._paths))}.")
        module, _, attribute = self._paths[name].rpartition(".")
        return getattr(import_module(module), attribute)

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


METHODS: Mapping[str, Any] = _Methods({"grad_cam": "mlcore.attribution.grad_cam.GradCAM"})


def explain(
    model: nn.Module, images: Tensor, targets: Any, method: str = "grad_cam", **options: Any
) -> Tensor:
    """Maps (B, h, w) float32 of what `model` looked at in `images` (B, 3, H, W) for `targets` (B,).

    method: a name in METHODS; options: those of its constructor. Raises KeyError for an unknown method.
    """
    return METHODS[method](model, **options).explain(images, targets)
