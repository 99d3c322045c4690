"""What objectives with an attention term share: whose maps count, and one forward pass for both terms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mlcore.attribution.grad_cam import GradCAM
from mlcore.objectives.base import Objective
from mlcore.objectives.batch import Batch


class AttentionObjective(Objective):
    """An objective that compares the Grad-CAM of the TRUE class with a person's map.

    attention_weight: λ. stop_gradient_weights: α of Grad-CAM is a constant (first order).
    layer, form: as in GradCAM.
    """

    cam_options: dict[str, Any] = {}

    def __init__(
        self,
        *,
        attention_weight: float = 1.0,
        stop_gradient_weights: bool = True,
        layer: str | None = None,
        form: str = "auto",
    ) -> None:
        super().__init__()
        if not attention_weight >= 0:
            raise ValueError(f"The attention weight must be 0 or more, not {attention_weight}.")
        self.attention_weight = float(attention_weight)
        self.stop_gradient_weights = stop_gradient_weights
        self.layer = layer or None
        self.form = form
        self._cam: GradCAM | None = None

    def prepare(self, model: nn.Module) -> None:
        """Find the layer and its head. Raises ValueError where the classifier has no such layer."""
        self._cam = GradCAM(model, self.layer, form=self.form, **self.cam_options)  # type: ignore[arg-type]

    def cam(self, model: nn.Module) -> GradCAM:
        """Grad-CAM of `model`, made once."""
        if self._cam is None or self._cam.model is not model:
            self.prepare(model)
        assert self._cam is not None
        return self._cam

    @property
    def has_closed_form(self) -> bool:
        """Whether maps come without a backward pass of their own (known after `prepare`)."""
        return self._cam is not None and self._cam.head is not None

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        """Images, and those whose attention is compared."""
        return super().counts(batch) | {"maps": self.counted(batch).sum().float()}

    def counted(self, batch: Batch) -> Tensor:
        """(B,) bool: images whose attention is compared: w_a > 0, with a map that marks something."""
        if batch.maps is None:
            return torch.zeros_like(batch.has_map)
        return (batch.w_a > 0) & batch.has_map & (batch.maps > 0).flatten(1).any(dim=1)

    def maps(self, model: nn.Module, batch: Batch, counted: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (B, K) and raw maps (n, h, w) of the n counted images (None where there are none), from
        one forward pass.
        """
        if not bool(counted.any()):
            output = model(batch.images)
            return getattr(output, "logits", output), None
        logits, maps = self.cam(model).forward(
            batch.images,
            batch.labels,
            create_graph=True,
            stop_gradient_weights=self.stop_gradient_weights,
        )
        return logits, maps[counted]


def count_terms(batch: Batch, counted: Tensor, maps: Tensor | None) -> dict[str, Tensor]:
    """Counts to log: images compared; those with weight but no usable person's map; constant or NaN maps."""
    wanted = (batch.w_a > 0).sum()
    lost = wanted.new_zeros(())
    if maps is not None:
        span = maps.detach().amax(dim=(1, 2)) - maps.detach().amin(dim=(1, 2))
        lost = (~(span > 0) | ~torch.isfinite(span)).sum()
    return {
        "images_with_map": counted.sum(),
        "images_without_usable_map": wanted - counted.sum(),
        "constant_maps": lost,
    }
