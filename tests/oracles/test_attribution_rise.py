"""RISE beside a plain loop written from the paper, its masks enlarged by scikit-image."""

import numpy as np
import pytest
import torch
from skimage.transform import resize
from torch import Tensor, nn

from mlcore.attribution import explain
from mlcore.attribution.rise import MaskMaker
from tests.oracles.nets import Plain, images, seeded

MASKS, CELLS, KEEP = 30, 4, 0.4


def written_out(model: nn.Module, picture: Tensor, label: int) -> Tensor:
    """S(λ) = 1/(N·E[M]) Σ f(I ⊙ M_i) · M_i(λ): grids of h × w cells, enlarged to (h + 1)·C_H × (w + 1)·C_W, and cut out
    at a random place; the places and grids are those that ours has drawn."""
    height, width = picture.shape[1:]
    drawn = MaskMaker((height, width), MASKS, CELLS, KEEP, 0, "cpu")
    steps = -(-height // CELLS), -(-width // CELLS)
    total = np.zeros((height, width))
    for grid, (down, right) in zip(drawn._grids.numpy(), drawn._places.tolist(), strict=True):
        size = ((CELLS + 1) * steps[0], (CELLS + 1) * steps[1])
        large = resize(grid.astype(float), size, order=1, mode="edge", anti_aliasing=False)
        mask = large[down : down + height, right : right + width]
        with torch.no_grad():
            score = torch.softmax(model(picture[None] * torch.from_numpy(mask)), dim=1)[0, label]
        total += float(score) * mask
    return torch.from_numpy(total / (MASKS * KEEP))


@pytest.mark.parametrize("preset", ["default", "torchray"])
def test_rise_is_the_papers_sum(preset: str) -> None:
    model = seeded(Plain())
    ours = explain(
        model, images(), torch.tensor([2, 0, 3]), "rise", masks=MASKS, cells=CELLS, keep=KEEP, preset=preset, chunk=7
    )
    for found, picture, label in zip(ours, images(), (2, 0, 3), strict=True):
        theirs = written_out(model, picture, label) * (1 if preset == "default" else KEEP)
        torch.testing.assert_close(found.double(), theirs, atol=1e-5, rtol=0)
