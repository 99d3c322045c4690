"""The vote of the nearest, by hand and against counting in plain Python."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlcore.correspondence import vote as module
from mlcore.correspondence.vote import NOBODY, vote


def counted(row: list[int], votes: int, ties: str) -> tuple[int, float]:
    cast = [label for label in row[:votes] if label != NOBODY]
    if not cast:
        return NOBODY, 0.0
    counts = Counter(cast)
    most = max(counts.values())
    tied = [label for label in counts if counts[label] == most]
    winner = min(tied) if ties == "lowest" else min(tied, key=cast.index)
    return winner, most / len(cast)


def test_by_hand():
    labels = torch.tensor([[7, 2, 2, 7, 5], [4, 4, 4, 1, 1], [9, 9, 9, 9, 9]])
    said, sure = vote(labels)
    assert said.tolist() == [7, 4, 9]
    torch.testing.assert_close(sure, torch.tensor([0.4, 0.6, 1.0]))
    assert said.dtype == torch.int64
    assert sure.dtype == torch.float32


def test_equal_votes_go_to_the_nearest_or_to_the_lowest():
    labels = torch.tensor([[3, 1, 1, 3, 0]])
    assert vote(labels)[0].item() == 3
    assert vote(labels, ties="lowest")[0].item() == 1


def test_twenty_of_fifty_vote():
    labels = torch.full((1, 50), 8)
    labels[0, :20] = torch.tensor([1] * 11 + [2] * 9)
    said, sure = vote(labels)
    assert said.item() == 1
    assert sure.item() == pytest.approx(11 / 20)
    assert vote(labels, votes=50)[0].item() == 8
    assert vote(labels, votes=1)[1].item() == 1


def test_where_nobody_stands_nobody_votes():
    labels = torch.tensor([[NOBODY, 6, NOBODY, 5, 6], [NOBODY] * 5])
    for ties in module.TIES:
        said, sure = vote(labels, ties=ties)
        assert said.tolist() == [6, NOBODY]
        torch.testing.assert_close(sure, torch.tensor([2 / 3, 0.0]))
    said, sure = vote(torch.zeros(3, 0, dtype=torch.long))
    assert said.tolist() == [NOBODY] * 3
    assert vote(torch.zeros(0, 4, dtype=torch.long))[0].shape == (0,)


rows = st.lists(st.integers(NOBODY, 4), min_size=8, max_size=8)


@given(st.lists(rows, min_size=1, max_size=6), st.integers(1, 12), st.sampled_from(module.TIES))
def test_as_counted_in_plain_python(table, votes, ties):
    said, sure = vote(torch.tensor(table), votes=votes, ties=ties)
    wanted = [counted(row, votes, ties) for row in table]
    assert said.tolist() == [label for label, _ in wanted]
    assert sure.tolist() == pytest.approx([share for _, share in wanted])


def test_many_queries_are_counted_in_portions(monkeypatch):
    labels = torch.randint(0, 5, (100, 20), generator=torch.Generator().manual_seed(0))
    whole = vote(labels)
    monkeypatch.setattr(module, "_MOST", 20 * 20 * 7)
    parts = vote(labels)
    assert torch.equal(whole[0], parts[0])
    assert torch.equal(whole[1], parts[1])


@pytest.mark.parametrize(
    ("labels", "options", "sentence"),
    [
        (torch.zeros(2, 3, dtype=torch.long), {"ties": "first"}, "not to “first”"),
        (torch.zeros(2, 3, dtype=torch.long), {"votes": 0}, "At least one candidate"),
        (torch.zeros(2, 3), {}, "whole numbers"),
        (torch.zeros(3, dtype=torch.long), {}, "whole numbers"),
    ],
)
def test_what_is_no_vote_is_refused(labels, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        vote(labels, **options)
