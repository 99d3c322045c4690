"""CHM-Corr and the plain cosine matcher against the formulas, written as loops (definitions §6)."""

import numpy as np
import pytest
import torch

from mlcore.correspondence.base import Described
from mlcore.correspondence.chm.network import CHMNetwork
from mlcore.correspondence.chm.transfer import transfer
from mlcore.correspondence.chm_corr import KEY_POINTS, CHMCorr, cell_of, key_points
from mlcore.correspondence.cosine_corr import CosineCorr


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = CHMNetwork("features.3", 6, width=8, side=5)
    made.hough6d.kernel.weight.data.uniform_(0, 0.2)
    made.hough6d.kernel.bias.data.fill_(-2)  # where the sigmoid is steep
    made.hough4d.kernel.weight.data.uniform_(0, 1)
    return made


def described(count, grid=(7, 7), seed=1):
    torch.manual_seed(seed)
    query = Described(torch.randn(2, 9, *grid), torch.randn(2, 6, 5, 5))
    return query, Described(torch.randn(2, count, 9, *grid), torch.randn(2, count, 6, 5, 5))


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def by_loops(network, query, candidate, pictures, *, released, mask=None):
    """One pair: the published description, step by step. query, candidate: (C, h, w); pictures: their middle."""
    height, width = query.shape[1:]
    points = [(x, y) for y in KEY_POINTS for x in KEY_POINTS]
    with torch.no_grad():
        scores = network(*pictures)
        moved = transfer(scores, torch.tensor([[((x - 120) / 120, (y - 120) / 120) for x, y in points]]))[0].tolist()
    crossed = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            crossed[row, column] = sum(
                query[:, row, column] @ candidate[:, i, j] for i in range(height) for j in range(width)
            )
    crossed = (crossed - crossed.min()) / (crossed - crossed.min()).max()
    kept, survivors = [], []
    for (x, y), (to_x, to_y) in zip(points, moved, strict=True):

        def cell(x, y):
            if released:
                x, y = y, x
            return min(int((y + 1) / 2 * height), height - 1), min(int((x + 1) / 2 * width), width - 1)

        here, there = cell((x - 120) / 120, (y - 120) / 120), cell(to_x, to_y)
        value = cosine(query[:, here[0], here[1]], candidate[:, there[0], there[1]])
        counts = bool(mask[here]) if mask is not None else crossed[here] >= 0.55
        kept.append(value if counts else 0.0)
        if counts:
            survivors.append((value, here[0] * width + here[1], there[0] * width + there[1]))
    survivors.sort(reverse=True)
    if mask is not None:
        return sum(kept) / 49, survivors
    if released:
        return np.mean(sorted(kept)[-5:]), survivors[:5]
    return np.mean([value for value, _, _ in survivors[:5]]), survivors[:5]


@pytest.mark.parametrize("preset", ["default", "correspondence"])
@pytest.mark.parametrize("grid", [(7, 7), (8, 6), (13, 13)])
def test_scores_and_pairs_are_those_of_the_loops(network, preset, grid):
    queries, candidates = described(3, grid)
    found = CHMCorr(network, preset=preset).compare(queries, candidates)
    assert found.scores.shape == (2, 3)
    assert found.pairs.shape == (2, 3, 5, 2)
    assert found.converged is None
    for q in range(2):
        for k in range(3):
            middle = (queries.middle[q : q + 1], candidates.middle[q, k : k + 1])
            score, best = by_loops(
                network, queries.cells[q].numpy(), candidates.cells[q, k].numpy(), middle, released=preset != "default"
            )
            assert float(found.scores[q, k]) == pytest.approx(score, abs=1e-5)
            assert float(found.pair_scores[q, k].sum()) == pytest.approx(score, abs=1e-5)
            named = [tuple(pair) for pair in found.pairs[q, k].tolist() if pair != [-1, -1]]
            positive = [(ours, theirs) for value, ours, theirs in best if value > 0 or preset == "default"]
            assert len(named) == len(best) or preset != "default"
            # Cells of a coarse grid hold several key points: equal cosines may come in either order.
            assert sorted(named[: len(positive)]) == sorted(positive)


def test_zeros_enter_only_as_released(network):
    queries, candidates = described(1)
    # One cell stands out: no other is as like the candidate by half.
    queries.cells[:] = torch.randn(9, 1, 1) * 0.01
    queries.cells[:, :, 2, 4] = candidates.cells[:, 0].sum(dim=(2, 3)) * 5
    default = CHMCorr(network).compare(queries, candidates)
    released = CHMCorr(network, preset="correspondence").compare(queries, candidates)
    assert (default.pairs[:, 0, :, 0] >= 0).sum(dim=1).tolist() == [1, 1]
    assert default.pairs[0, 0, 0, 0] == 2 * 7 + 4
    assert torch.equal(default.pairs[:, :, 1:], torch.full((2, 1, 4, 2), -1))
    values = released.scores * 5
    assert torch.allclose(released.pair_scores.sum(dim=2) * 5, values)
    assert float(default.pair_scores[0, 0, 1:].abs().sum()) == 0


@pytest.mark.parametrize("preset", ["default", "correspondence"])
def test_marked_cells_alone_guide_the_match(network, preset):
    queries, candidates = described(2)
    marked = torch.zeros(2, 7, 7, dtype=torch.bool)
    marked[0, 1:3, 4:7] = True
    marked[1, 6, 0] = True
    found = CHMCorr(network, preset=preset).compare(queries, candidates, marked)
    for q in range(2):
        for k in range(2):
            middle = (queries.middle[q : q + 1], candidates.middle[q, k : k + 1])
            score, pairs = by_loops(
                network, queries.cells[q].numpy(), candidates.cells[q, k].numpy(), middle,
                released=preset != "default", mask=marked[q].numpy(),
            )  # fmt: skip
            assert float(found.scores[q, k]) == pytest.approx(score, abs=1e-6)
            named = [tuple(pair) for pair in found.pairs[q, k].tolist() if pair[0] >= 0]
            assert sorted(named) == sorted((ours, theirs) for _, ours, theirs in pairs)
    assert found.pairs.shape[2] == 6
    nothing = CHMCorr(network).compare(queries, candidates, torch.zeros_like(marked))
    assert torch.equal(nothing.scores, torch.zeros(2, 2))


def test_a_mark_on_a_finer_grid_marks_the_points_whose_part_of_the_picture_it_touches(network):
    queries, candidates = described(1, (13, 13))
    marked = torch.zeros(2, 13, 13, dtype=torch.bool)
    marked[:, 0, 0] = True
    found = CHMCorr(network).compare(queries, candidates, marked)
    assert found.pairs[0, 0, :, 0].tolist() == [0]
    marked[:, 1, 1] = True  # of 13 cells the second lies on the border of the first and second seventh
    found = CHMCorr(network).compare(queries, candidates, marked)
    assert found.pairs.shape[2] == 4


def test_key_points_lie_in_the_middle_of_49_parts():
    cells = cell_of(key_points(), (7, 7))
    assert cells.tolist() == list(range(49))
    assert cell_of(key_points(), (7, 7), swapped=True).view(7, 7).T.flatten().tolist() == list(range(49))
    edges = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    assert cell_of(edges, (6, 8)).tolist() == [47, 0]


def test_a_picture_that_is_itself_the_candidate_scores_one():
    cells = torch.rand(1, 5, 6, 7) + 0.1
    queries, candidates = Described(cells), Described(torch.stack([cells, cells.flip(3)], dim=1))
    found = CosineCorr().compare(queries, candidates)
    assert found.scores[0].tolist() == pytest.approx([1, 1], abs=1e-5)
    assert torch.equal(found.pairs[0, 0, :, 0], found.pairs[0, 0, :, 1])
    row, column = found.pairs[0, 1, :, 0] // 7, found.pairs[0, 1, :, 0] % 7
    assert torch.equal(found.pairs[0, 1, :, 1], row * 7 + 6 - column)


def test_the_cosine_matcher_is_its_loops():
    queries, candidates = described(3, (4, 5))
    marked = torch.rand(2, 4, 5) > 0.5
    plain, guided = CosineCorr().compare(queries, candidates), CosineCorr().compare(queries, candidates, marked)
    for q in range(2):
        for k in range(3):
            a, b = queries.cells[q].flatten(1).T.numpy(), candidates.cells[q, k].flatten(1).T.numpy()
            best = np.array([max(cosine(one, other) for other in b) for one in a])
            crossed = np.array([sum(one @ other for other in b) for one in a])
            crossed = (crossed - crossed.min()) / (crossed - crossed.min()).max()
            assert float(plain.scores[q, k]) == pytest.approx(np.sort(best[crossed >= 0.55])[-5:].mean(), abs=1e-5)
            assert float(guided.scores[q, k]) == pytest.approx(best[marked[q].flatten().numpy()].sum() / 20, abs=1e-5)


def test_candidates_are_scored_alike_in_any_company(network):
    queries, candidates = described(9)  # more pairs than the network takes at once
    together = CHMCorr(network).compare(queries, candidates)
    one = Described(candidates.cells[1:, 6:7], candidates.middle[1:, 6:7])
    alone = CHMCorr(network).compare(Described(queries.cells[1:], queries.middle[1:]), one)
    assert float(alone.scores[0, 0]) == pytest.approx(float(together.scores[1, 6]), abs=1e-5)


def test_what_is_missing_or_cannot_be_is_said(network, tmp_path):
    queries, candidates = described(1)
    with pytest.raises(ValueError, match="needs a trained correspondence network"):
        CHMCorr()
    with pytest.raises(ValueError, match=r"layer “features\.3” besides"):
        CHMCorr(network).compare(Described(queries.cells), Described(candidates.cells))
    with pytest.raises(ValueError, match="presets are default and correspondence"):
        CHMCorr(network, preset="emd")
    with pytest.raises(ValueError, match="between 0 and 1"):
        CosineCorr(threshold=2.0)
    path = network.save(tmp_path / "network.safetensors")
    read = CHMCorr(path).compare(queries, candidates)
    assert torch.equal(read.scores, CHMCorr(network).compare(queries, candidates).scores)
