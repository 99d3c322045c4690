"""The table of a loop: each seed, mean ± standard deviation over seeds, and differences pair by pair."""

from types import SimpleNamespace

from annotation.loop_table import table
from mlcore.exchange.scripted import ErrorRates


def result(seed: int, before: float, control: float, after: float) -> SimpleNamespace:
    scores = {
        name: {"accuracy": value, "attention_iou_50": value / 2, "pointing": None}
        for name, value in (("phase 1", before), ("control", control), ("phase 2", after))
    }
    return SimpleNamespace(seed=seed, scores=scores)


def test_several_seeds() -> None:
    text = table([result(1, 0.5, 0.6, 0.8), result(2, 0.7, 0.6, 0.9)], ErrorRates())
    assert "| 1 | phase 2 | 80.0 | 0.400 | – |" in text
    assert "| mean ± sd | phase 1 | 60.0 ± 14.1 | 0.300 ± 0.071 | – |" in text
    assert "| mean ± sd | phase 2 − control | +25.0 ± 7.1 | +0.125 ± 0.035 | – |" in text
    assert "imulated annotators" in text


def test_one_seed_has_no_spread() -> None:
    text = table([result(7, 0.5, 0.6, 0.8)], ErrorRates())
    assert "±" not in text
    assert "| 7 | phase 2 − phase 1 | +30.0 | +0.150 | – |" in text
