"""SmoothGrad, computed by captum (definitions §1).

Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mlcore.attribution.base import Attribution, Targets, class_scores, resolve_targets, to_one_map
from mlcore.attribution.pixel_gradient import check_channels, own_copy, without_nonfinite

_AT_ONCE = 32


class SmoothGrad(Attribution):
    """The mean gradient over copies of the picture with Gaussian noise; colours become one map after the mean.

    samples: copies. noise: its deviation as a share of each picture's own range, max − min over all its colours.
    seed: every image starts from it, so its map depends on no other image of the batch.
    channels: "abs_sum" (default), "sum" or "max_abs". Maps (B, H, W) at the picture's size. An image whose class
    scores are not finite gets a map of NaN.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        samples: int = 50,
        noise: float = 0.15,
        seed: int = 0,
        channels: str = "abs_sum",
    ) -> None:
        super().__init__(model)
        if samples < 1 or not noise >= 0:
            raise ValueError(f"SmoothGrad takes one copy or more and noise of 0 or more, not {samples} and {noise}.")
        self.samples = samples
        self.noise = noise
        self.seed = seed
        self.channels = check_channels(channels)

    def _explain(self, images: Tensor, targets: Targets) -> Tensor:
        from captum.attr import NoiseTunnel, Saliency  # heavy: loaded by whoever asks for a map

        logits = class_scores(self.model(images))
        chosen = resolve_targets(logits, targets)
        method = NoiseTunnel(Saliency(lambda pictures: class_scores(self.model(pictures))))
        if not len(images):
            return images.new_zeros(0, *chosen.shape[1:], *images.shape[2:])
        columns = chosen[:, None] if chosen.dim() == 1 else chosen
        maps = [
            torch.cat([self._one(method, images[i : i + 1], int(column[i])) for i in range(len(images))])
            for column in columns.unbind(1)
        ]
        maps = [without_nonfinite(found, logits) for found in maps]
        return maps[0] if chosen.dim() == 1 else torch.stack(maps, dim=1)

    def _one(self, method: Any, image: Tensor, target: int) -> Tensor:
        picture = own_copy(image)
        spread = self.noise * float(image.amax() - image.amin())
        _seed(image.device, self.seed)
        with torch.enable_grad():
            values = method.attribute(
                picture,
                nt_type="smoothgrad",
                nt_samples=self.samples,
                nt_samples_batch_size=min(_AT_ONCE, self.samples),
                stdevs=spread if 0 <= spread < float("inf") else 0.0,  # a picture with NaN in it has no range
                target=target,
                abs=False,
            )
        return to_one_map(values.detach(), self.channels)


def _seed(device: torch.device, seed: int) -> None:
    """Seed the generator that noise on `device` comes from, and no other device's."""
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
