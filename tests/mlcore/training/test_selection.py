"""Which epoch is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcore.training.selection import BEFORE, Point, Selection


def chosen(rule: str, *figures: tuple[float, float | None], tolerance: float = 0.01) -> int:
    selection = Selection(rule, tolerance)
    for number, (accuracy, iou) in enumerate(figures, start=1):
        selection.add(Point(number, accuracy, iou))
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


def scored(*figures: tuple[float | None, float | None], **options: bool) -> Selection:
    """Points of (score, agreement), the first of them from before the first step."""
    selection = Selection("best_score", agreement_guard=0.95, **options)
    for number, (score, agreement) in enumerate(figures):
        selection.add(Point(50 * number, score=score, agreement=agreement))
    return selection


def best_of(selection: Selection) -> int | None:
    best = selection.best()
    return None if best is None else best.number


def test_the_best_score_counts_only_with_an_agreement_above_the_guard() -> None:
    assert best_of(scored((0.2, 1.0), (0.3, 0.99), (0.5, 0.95), (0.4, 0.96), (0.9, 0.5))) == 150  # 0.95 is not more
    assert best_of(scored((0.2, 1.0), (0.3, 0.99), (0.1, 0.96), higher_is_better=False)) == 100
    assert best_of(scored((0.2, 1.0), (0.3, 0.99), (0.3, 1.0))) == 50  # of equal scores the earlier
    assert best_of(scored((0.2, 1.0), (None, 0.99), (float("nan"), 0.99), (0.1, 0.99))) == 150


def test_before_the_first_step_is_shown_and_never_chosen() -> None:
    selection = scored((0.9, 1.0), (0.5, 0.9))
    assert selection.measured[0].number == BEFORE
    assert (selection.best(), selection.candidates()) == (None, set())
    assert scored((0.9, 1.0)).points_without_better() == 0


def test_points_under_the_guard_are_counted_from_the_newest() -> None:
    assert scored((0.2, 1.0), (0.3, 0.9), (0.3, 0.97), (0.3, 0.9), (0.3, None)).points_under_guard() == 2
    assert scored((0.2, 1.0), (0.3, 0.97)).points_under_guard() == 0


def test_early_stopping_counts_points_since_the_best_whatever_their_numbers() -> None:
    assert scored((0.2, 1.0), (0.9, 0.99), (0.3, 0.97), (0.3, 0.9)).points_without_better() == 2


def test_a_checkpoint_from_before_there_were_scores_is_understood() -> None:
    selection = Selection("best_accuracy")
    selection.load_state_dict([{"number": 1, "accuracy": 0.5, "attention_iou": None}])
    assert selection.best() == Point(1, 0.5)
    again = Selection("best_accuracy")
    again.load_state_dict(selection.state_dict())
    assert again.best() == Point(1, 0.5)


def test_early_stopping_counts_epochs_since_the_best() -> None:
    selection = Selection("best_accuracy")
    for number, accuracy in enumerate((0.5, 0.7, 0.6, 0.7), start=1):
        selection.add(Point(number, accuracy, None))
    assert selection.points_without_better() == 2


figure = st.integers(0, 20).map(lambda value: value / 20)


@given(st.lists(st.tuples(figure, figure), min_size=1, max_size=12), st.sampled_from([0.0, 0.06, 0.2]))
def test_the_epoch_chosen_at_the_end_was_a_candidate_ever_since(
    figures: list[tuple[float, float]], tolerance: float
) -> None:
    for rule in ("best_accuracy", "best_attention_iou"):
        selection = Selection(rule, tolerance)
        kept = []
        for number, (accuracy, iou) in enumerate(figures, start=1):
            selection.add(Point(number, accuracy, iou))
            kept.append(selection.candidates())
        best = selection.best()
        assert best is not None
        assert all(best.number in candidates for candidates in kept[best.number - 1 :])
