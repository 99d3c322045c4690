"""Scores that are no numbers are refused by name: ranked, they would be an order of chance."""

import pytest
import torch

from mlcore.training.correspond import Way, _check_finite
from mlcore.training.errors import JobError
from mlcore.training.job import Item

QUERIES = [Item(id=str(number), path=f"folder/bird-{number}.jpg", label=None) for number in range(3)]


def test_the_first_picture_with_a_score_that_is_no_number_is_named() -> None:
    way = Way(name="emd_corr", id="1", payload="matches", matcher=None)
    scores = torch.rand(3, 4)
    _check_finite(way, scores, QUERIES)
    for wrong in (torch.nan, torch.inf):
        scores[1, 2] = wrong
        with pytest.raises(JobError, match=r"EMD-Corr gave scores that are no numbers for bird-1\.jpg"):
            _check_finite(way, scores, QUERIES)
