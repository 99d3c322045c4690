"""Preset "correspondence" against the published way of computing it, which the bench times."""

import numpy as np
import pytest
import torch

from bench import correspondence_released as released
from mlcore.correspondence.base import Described
from mlcore.correspondence.emd_corr import EMDCorr
from mlcore.correspondence.vote import vote


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_the_released_functions(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shared = torch.rand(32, 1, 1, generator=generator)
    cells = (shared + 0.7 * torch.randn(11, 32, 7, 7, generator=generator)).relu()
    found = EMDCorr(preset="correspondence").compare(Described(cells[:1]), Described(cells[None, 1:]))
    expected = released.emd_scores(cells)
    assert found.scores[0].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert float(expected.std()) > 1e-3


def test_its_vote_is_ours_with_ties_for_the_lowest() -> None:
    labels = np.array([7, 3, 3, 7, 5])
    order = np.array([0, 1, 2, 3, 4])
    assert released.vote(labels, order) == 3
    assert vote(torch.from_numpy(labels)[None], ties="lowest")[0].tolist() == [3]
