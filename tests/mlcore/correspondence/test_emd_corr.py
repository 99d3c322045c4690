"""EMD-Corr's scores and pairs: by hand, against the formulas written as loops, and for input that is wrong."""

import math
from typing import Any

import pytest
import torch

from mlcore.catalogue.fields import clean_fields
from mlcore.catalogue.matchers import MATCHERS
from mlcore.correspondence import emd_corr
from mlcore.correspondence.base import Described
from mlcore.correspondence.emd_corr import EMDCorr
from tests.mlcore.correspondence.formulas import default_score, preset_scores

QUERIES, CANDIDATES = 3, 4


def pictures(
    seed: int = 0, *, below_zero: bool = False, side: int = 3, spread: float = 1.0
) -> tuple[Described, Described]:
    """Features that resemble a classifier's: mostly shared, some of each cell's own; optionally not rectified."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.rand(6, 1, 1, generator=generator)
    queries = shared + spread * torch.randn(QUERIES, 6, side, side, generator=generator)
    candidates = shared + spread * torch.randn(QUERIES, CANDIDATES, 6, side, side, generator=generator)
    if not below_zero:
        queries, candidates = queries.relu() + 0.01, candidates.relu() + 0.01
    return Described(queries), Described(candidates)


def compare(queries: Described, candidates: Described, **options: Any) -> emd_corr.Compared:
    return EMDCorr(**options).compare(queries, candidates)


def test_two_cells_by_hand() -> None:
    # Cells (1, 0) and (0, 1) on both sides: s = 1 on the diagonal, 0 off it; every weight is ½ of the mass.
    cells = torch.eye(2).reshape(1, 2, 1, 2)
    found = compare(Described(cells), Described(cells[:, None]), num_patch=3)
    mass = 1 / (1 + 1e-5)
    stays = mass / 2 / (1 + math.exp(-20))
    assert found.scores.tolist() == [[pytest.approx(2 * stays, abs=1e-6)]]
    assert {tuple(pair) for pair in found.pairs[0, 0, :2].tolist()} == {(0, 0), (1, 1)}
    assert found.pair_scores[0, 0].tolist() == pytest.approx([stays, stays, 0.0], abs=1e-6)
    assert found.converged is not None
    assert found.converged.tolist() == [[True]]


def test_pairs_name_the_querys_cell_first() -> None:
    query = torch.eye(4).reshape(1, 4, 2, 2)
    moved = query.flatten(2)[:, :, [2, 0, 3, 1]].reshape(1, 1, 4, 2, 2)  # candidate's cell 0 is the query's 2
    found = compare(Described(query), Described(moved), num_patch=4)
    assert {tuple(pair) for pair in found.pairs[0, 0].tolist()} == {(0, 1), (1, 3), (2, 0), (3, 2)}


@pytest.mark.parametrize("below_zero", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"marginals": "uniform"},
        {"num_patch": 1},
        {"num_patch": 0},
        {"mixed": True},
        {"unequal_weights": True},
        {"epsilon": 0.1},
        {"epsilon": 0.03},
    ],
)
def test_the_default_is_the_formulas(options: dict[str, Any], below_zero: bool) -> None:
    queries, candidates = pictures(below_zero=below_zero)
    found = compare(queries, candidates, iterations=20_000, tolerance=1e-6, **options)
    theirs = {name.replace("unequal_weights", "unequal"): value for name, value in options.items()}
    for query in range(QUERIES):
        for candidate in range(CANDIDATES):
            expected = default_score(
                queries.cells[query].double().numpy(), candidates.cells[query, candidate].double().numpy(), **theirs
            )
            assert float(found.scores[query, candidate]) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("spread", [0.7, 1.0])
@pytest.mark.parametrize(
    "options", [{}, {"marginals": "uniform"}, {"num_patch": 0}, {"mixed": True}, {"unequal_weights": True}]
)
def test_the_preset_is_the_formulas(options: dict[str, Any], spread: float) -> None:
    """Spread 0.7: some marginals are below 0, few enough for the iteration to settle. 1: rectified."""
    queries, candidates = pictures(below_zero=spread < 1, spread=spread)
    found = compare(queries, candidates, preset="correspondence", **options)
    assert found.scores.shape == (QUERIES, CANDIDATES)
    assert found.converged is not None
    theirs = {name.replace("unequal_weights", "unequal"): value for name, value in options.items()}
    for query in range(QUERIES):
        expected, stopped = preset_scores(
            queries.cells[query].double().numpy(), list(candidates.cells[query].double().numpy()), **theirs
        )
        assert found.scores[query].tolist() == pytest.approx(expected, abs=2e-6)
        assert found.converged[query].tolist() == [stopped] * CANDIDATES


def test_the_preset_says_which_queries_did_not_settle() -> None:
    queries, candidates = pictures(seed=1, below_zero=True, spread=0.7)
    found = compare(queries, candidates, preset="correspondence")
    expected = [
        preset_scores(query.double().numpy(), list(theirs.double().numpy()))[1]
        for query, theirs in zip(queries.cells, candidates.cells, strict=True)
    ]
    assert expected == [False, True, False]
    assert found.converged is not None
    assert found.converged[:, 0].tolist() == expected


def test_the_preset_stops_by_all_candidates_together() -> None:
    queries, candidates = pictures()
    whole = compare(queries, candidates, preset="correspondence")
    first = compare(queries, Described(candidates.cells[:, :1]), preset="correspondence")
    assert not torch.allclose(whole.scores[:, :1], first.scores, atol=1e-6)
    default = compare(queries, candidates)
    alone = compare(queries, Described(candidates.cells[:, :1]))
    assert torch.allclose(default.scores[:, :1], alone.scores, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"epsilon": 0.02}, {"preset": "correspondence"}, {"mixed": True}])
def test_queries_do_not_depend_on_those_beside_them(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    queries, candidates = pictures(side=4)
    together = compare(queries, candidates, **options)
    for query in range(QUERIES):
        alone = compare(Described(queries.cells[query, None]), Described(candidates.cells[query, None]), **options)
        assert torch.allclose(together.scores[query], alone.scores[0], atol=1e-6)
        assert torch.equal(together.pairs[query], alone.pairs[0])
    monkeypatch.setattr(emd_corr, "BYTES_AT_ONCE", 1)
    apart = compare(queries, candidates, **options)
    assert torch.allclose(together.scores, apart.scores, atol=1e-6)
    assert together.converged is not None
    assert apart.converged is not None
    assert torch.equal(together.converged, apart.converged)


def test_scores_are_what_the_pairs_add() -> None:
    found = compare(*pictures(), num_patch=5)
    assert torch.allclose(found.pair_scores.sum(2), found.scores, atol=1e-6)
    assert found.pairs.shape == (QUERIES, CANDIDATES, 5, 2)
    assert found.pairs.dtype == torch.long
    assert compare(*pictures(), num_patch=0).pairs.shape == (QUERIES, CANDIDATES, 5, 2)
    assert compare(*pictures(), num_patch=1000).pairs.shape == (QUERIES, CANDIDATES, 81, 2)


def test_a_tolerance_that_is_not_reached_is_said() -> None:
    found = compare(*pictures(), tolerance=0.0, iterations=3)
    assert found.converged is not None
    assert not found.converged.any()


@pytest.mark.parametrize("options", [{}, {"marginals": "uniform"}, {"mixed": True}, {"epsilon": 0.02}])
@pytest.mark.parametrize("preset", ["default", "correspondence"])
def test_a_picture_without_features_scores_nothing_and_disturbs_no_other(preset: str, options: dict[str, Any]) -> None:
    if preset == "correspondence" and "epsilon" in options:
        options = {"num_patch": 0}
    queries, candidates = pictures()
    rest = compare(queries, Described(candidates.cells[:, 1:]), preset=preset, **options)
    candidates.cells[:, 0] = 0
    found = compare(queries, candidates, preset=preset, **options)
    assert found.scores[:, 0].tolist() == [0.0] * QUERIES
    assert (found.pairs[:, 0] == -1).all()
    assert not found.pair_scores[:, 0].any()
    assert torch.allclose(found.scores[:, 1:], rest.scores, atol=1e-6)
    queries.cells[0] = 0
    empty = compare(queries, candidates, preset=preset, **options)
    assert not empty.scores[0].any()
    assert (empty.pairs[0] == -1).all()
    assert torch.allclose(empty.scores[1:], found.scores[1:], atol=1e-6)


def test_no_queries_and_no_candidates_give_no_scores() -> None:
    queries, candidates = pictures()
    found = compare(Described(queries.cells[:0]), Described(candidates.cells[:0]))
    assert found.scores.shape == (0, CANDIDATES)
    assert found.pairs.shape == (0, CANDIDATES, 5, 2)
    assert compare(queries, Described(candidates.cells[:, :0])).scores.shape == (QUERIES, 0)


def test_half_precision_is_compared_in_single() -> None:
    queries, candidates = pictures()
    halves = Described(queries.cells.half()), Described(candidates.cells.half())
    exact = compare(Described(halves[0].cells.float()), Described(halves[1].cells.float()))
    found = compare(*halves)
    assert found.scores.dtype == torch.float32
    assert torch.equal(found.scores, exact.scores)


@pytest.mark.parametrize("preset", ["default", "correspondence"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_cells_that_are_no_numbers_are_named(value: float, preset: str) -> None:
    queries, candidates = pictures()
    candidates.cells[1, 2, 0, 0, 0] = value
    with pytest.raises(ValueError, match="Cells of candidate 2 of query 1 are not finite numbers"):
        compare(queries, candidates, preset=preset)
    queries.cells[2, 0, 1, 1] = value
    with pytest.raises(ValueError, match="Cells of query 2 are not finite numbers"):
        compare(queries, pictures()[1], preset=preset)


def test_shapes_that_do_not_fit_are_refused() -> None:
    queries, candidates = pictures()
    with pytest.raises(ValueError, match="6×3×3, the candidates' 6×3×2"):
        compare(queries, Described(candidates.cells[..., :2]))
    with pytest.raises(ValueError, match="must be"):
        compare(queries, Described(candidates.cells[:2]))
    with pytest.raises(ValueError, match="must be"):
        compare(queries, Described(candidates.cells[0]))
    with pytest.raises(ValueError, match="marked"):
        EMDCorr().compare(queries, candidates, torch.ones(QUERIES, 3, 3, dtype=torch.bool))


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "released"},
        {"marginals": "even"},
        {"num_patch": -1},
        {"iterations": 0},
        {"epsilon": 0.0},
        {"epsilon": math.nan},
        {"tolerance": -1.0},
        {"preset": "correspondence", "epsilon": 0.01},
        {"preset": "correspondence", "iterations": 10},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"EMD-Corr|Preset correspondence"):
        EMDCorr(**options)


def test_the_form_offers_the_matchers_own_defaults() -> None:
    offered = clean_fields(MATCHERS["emd_corr"].fields, {})
    assert vars(EMDCorr(**offered)) == vars(EMDCorr())
    assert EMDCorr(**{**offered, "preset": "correspondence"}).preset == "correspondence"
