"""Scores of learnable metrics beside Quantus, on the maps that they are asked about."""

import numpy as np
import pytest
import torch
from torch import nn

from mlcore.metrics.learnable.registry import make
from mlcore.training.vision import torchvision  # noqa: F401 -- before a library that imports it by itself

quantus = pytest.importorskip("quantus", reason="The oracles' environment is not this one.")

SIZE = 16
QUIET = {"normalise": False, "disable_warnings": True, "display_progressbar": False}


class Nothing(nn.Module):
    """Quantus wants a classifier even where it is not asked."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def test_rma_and_complexity_to_1e_6() -> None:
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(5, 3, SIZE, SIZE, generator=generator)
    strength = torch.logspace(-4.5, 2, 5)[:, None, None]
    maps = (torch.rand(5, SIZE, SIZE, generator=generator) - 0.4).clamp(min=0) * strength
    masks = torch.rand(5, SIZE, SIZE, generator=generator) > 0.7
    targets = torch.zeros(5, dtype=torch.int64)
    asked = {"x_batch": images.numpy(), "y_batch": targets.numpy(), "a_batch": maps[:, None].numpy(), "device": "cpu"}
    model = Nothing().eval()

    ours = make("rma").evaluate(model, images, targets, lambda *_: maps, masks=masks)
    theirs = quantus.RelevanceMassAccuracy(abs=False, **QUIET)(model, s_batch=masks[:, None].numpy(), **asked)
    assert np.allclose(ours.numpy(), theirs, atol=1e-6)

    ours = make("complexity").evaluate(model, images, targets, lambda *_: maps)
    counts = quantus.EffectiveComplexity(eps=1e-5, abs=True, **QUIET)(model, **asked)
    assert np.allclose(ours.numpy(), np.array(counts) / SIZE**2, atol=1e-9)
    assert 0 < float(ours[0]) < float(ours[-1]) < 1
