"""Which epoch is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcore.training.selection import Epoch, Selection


def chosen(rule: str, *figures: tuple[float, float | None], tolerance: float = 0.01) -> int:
    selection = Selection(rule, tolerance)
    for number, (accuracy, iou) in enumerate(figures, start=1):
        selection.add(Epoch(number, accuracy, iou))
    best = selection.best()
    assert best is not None
    return best.number


def test_rules() -> None:
    figures = ((0.80, 0.50), (0.90, 0.20), (0.895, 0.40), (0.85, 0.60), (0.89, 0.30))
    assert chosen("last", *figures) == 5
    assert chosen("best_accuracy", *figures) == 2
    assert chosen("best_attention_iou", *figures) == 3
    assert chosen("best_attention_iou", *figures, tolerance=0.05) == 4
    assert chosen("best_attention_iou", *figures, tolerance=0.0) == 2


def test_one_point_below_is_within_one_point() -> None:
    assert chosen("best_attention_iou", (0.9, 0.1), (0.89, 0.2)) == 2


def test_the_earliest_wins_a_tie() -> None:
    assert chosen("best_accuracy", (0.9, None), (0.9, None)) == 1
    assert chosen("best_attention_iou", (0.9, 0.3), (0.9, 0.3)) == 1


def test_an_epoch_without_iou_loses() -> None:
    assert chosen("best_attention_iou", (0.9, None), (0.9, 0.0)) == 2


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="select"):
        Selection("best_test_accuracy")


def test_early_stopping_counts_epochs_since_the_best() -> None:
    selection = Selection("best_accuracy")
    for number, accuracy in enumerate((0.5, 0.7, 0.6, 0.7), start=1):
        selection.add(Epoch(number, accuracy, None))
    assert selection.epochs_without_better() == 2


figure = st.integers(0, 20).map(lambda value: value / 20)


@given(st.lists(st.tuples(figure, figure), min_size=1, max_size=12), st.sampled_from([0.0, 0.06, 0.2]))
def test_the_epoch_chosen_at_the_end_was_a_candidate_ever_since(
    figures: list[tuple[float, float]], tolerance: float
) -> None:
    for rule in ("best_accuracy", "best_attention_iou"):
        selection = Selection(rule, tolerance)
        kept = []
        for number, (accuracy, iou) in enumerate(figures, start=1):
            selection.add(Epoch(number, accuracy, iou))
            kept.append(selection.candidates())
        best = selection.best()
        assert best is not None
        assert all(best.number in candidates for candidates in kept[best.number - 1 :])
