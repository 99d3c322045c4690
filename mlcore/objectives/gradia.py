"""GRADIA: interactive attention alignment (definitions §2).

Gao et al., "Aligning eyes between humans and deep neural network through interactive attention
alignment", 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlcore.attribution.maps import minmax
from mlcore.objectives.attention import AttentionObjective, count_terms
from mlcore.objectives.base import Loss, mean_over, weighted_cross_entropy
from mlcore.objectives.batch import Batch
from mlcore.objectives.targets import attention_target

EPS = 1e-8


class Gradia(AttentionObjective):
    """mean_i(w_p·CE_i) + λ · mean over images with w_a > 0 of (w_a · mean_hw |M_i − T_i|).

    M: Grad-CAM of the true class without ReLU, min–max. T: the person's map at the same size, blurred,
    maximum 1. An image whose drawn map is empty is left out of the second mean and counted.

    preset "gradia" is the released way: a second forward pass for each image in train mode (BatchNorm sees
    one image), no ε in the min–max, T rounded to 8 bits. (That its flip moves the image alone belongs to
    data loading.)
    """

    cam_options = {"relu": False}

    def __init__(
        self,
        *,
        attention_weight: float = 1.0,
        stop_gradient_weights: bool = True,
        layer: str | None = None,
        form: str = "auto",
        preset: str = "default",
    ) -> None:
        super().__init__(
            attention_weight=attention_weight,
            stop_gradient_weights=stop_gradient_weights,
            layer=layer,
            form=form,
        )
        if preset not in ("default", "gradia"):
            raise ValueError(f"GRADIA has the presets default and gradia, not “{preset}”.")
        self.preset = preset

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The loss of one batch, in the model's current mode."""
        counted = self.counted(batch)
        one_forward = self.preset == "default"
        logits, maps = (self.maps if one_forward else self._maps_image_by_image)(model, batch, counted)
        classification = weighted_cross_entropy(logits, batch)
        distance = classification.new_zeros(0)
        if maps is not None and batch.maps is not None:
            scaled = minmax(maps, EPS if self.preset == "default" else 0.0)
            masks = (batch.maps[counted] > 0).to(scaled.dtype)
            target = attention_target(masks, (maps.shape[1], maps.shape[2]), rounded=self.preset == "gradia")
            distance = batch.w_a[counted].to(scaled.dtype) * (scaled - target).abs().mean(dim=(1, 2))
        attention = mean_over(distance, counted.sum(), "maps")
        total = classification + self.attention_weight * attention
        terms = {"classification": classification.detach(), "attention": attention.detach()}
        return Loss(total, terms | count_terms(batch, counted, maps), logits)

    def _maps_image_by_image(self, model: nn.Module, batch: Batch, counted: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `maps`, by a second forward pass for each counted image in the model's current mode."""
        output = model(batch.images)
        logits = getattr(output, "logits", output)
        cam = self.cam(model)
        single = [
            cam.forward(
                batch.images[index : index + 1],
                batch.labels[index : index + 1],
                create_graph=True,
                stop_gradient_weights=self.stop_gradient_weights,
            )[1]
            for index in counted.nonzero()[:, 0].tolist()
        ]
        return logits, torch.cat(single) if single else None
