"""Metrics against masks and people beside Quantus 0.6, POT 0.9.7 and scikit-learn (docs/metrics.md names the rest).

Quantus measures maps that have the picture's size already, and takes the first of equal pixels where we share: the
maps here are of the masks' size and without ties, so that definitions agree.
"""

from typing import Any

import numpy as np
import ot
import pytest
import quantus
import torch
from sklearn import metrics as sklearn
from torch import Tensor

from mlcore.attribution.maps import minmax, upsample
from mlcore.metrics import score
from mlcore.metrics.people_maps import reduce_by_area

COUNT, SIDE = 6, 20


def some(*shape: int, seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def values(name: str, maps: Tensor, **given: Any) -> list[float]:
    return list(score(name, maps, **given)["per_image"].values())


def quantus_values(metric: Any, maps: Tensor, masks: Tensor) -> list[float]:
    """What it computes of maps as they are, without its preparation of them."""
    pictures = np.zeros((len(maps), 3, SIDE, SIDE))
    found = metric.evaluate_batch(
        x_batch=pictures, a_batch=maps[:, None].double().numpy().copy(), s_batch=masks[:, None].numpy()
    )
    return [float(value) for value in found]


@pytest.fixture
def masks() -> Tensor:
    found = some(COUNT, SIDE, SIDE, seed=3) > 0.7
    found[:, 5:9, 5:11] = True
    return found


@pytest.mark.parametrize(
    ("name", "peer", "options", "tolerance"),
    [
        ("content_heat_map", quantus.RelevanceMassAccuracy(disable_warnings=True), {}, 1e-6),
        ("content_heat_map", quantus.AttributionLocalisation(disable_warnings=True), {}, 1e-6),
        ("pointing", quantus.PointingGame(disable_warnings=True), {"tolerance": 0}, 0),
        ("stochastic_pointing", quantus.RelevanceMassAccuracy(disable_warnings=True), {"tolerance": 0}, 1e-6),
        ("precision_top10", quantus.TopKIntersection(k=SIDE * SIDE // 10, disable_warnings=True), {}, 1e-9),
        ("sparseness", quantus.Sparseness(disable_warnings=True), {}, 1e-6),  # it adds 1e-7 to every pixel
        ("entropy", quantus.Complexity(disable_warnings=True), {}, 1e-6),  # it adds 1e-12 in the logarithm
    ],
)
def test_quantus(name: str, peer: Any, options: dict[str, Any], tolerance: float, masks: Tensor) -> None:
    maps = some(COUNT, SIDE, SIDE, seed=1)
    given = {} if name in ("sparseness", "entropy") else {"masks": masks}
    assert values(name, maps, **given, **options) == pytest.approx(quantus_values(peer, maps, masks), abs=tolerance)


def test_quantus_counts_pixels_where_we_give_their_share(masks: Tensor) -> None:
    maps = some(COUNT, SIDE, SIDE, seed=2) * 2e-5
    counted = quantus_values(quantus.EffectiveComplexity(eps=1e-5, disable_warnings=True), maps, masks)
    assert values("complexity", maps) == pytest.approx([count / SIDE**2 for count in counted], abs=1e-12)


def test_scikit_learn(masks: Tensor) -> None:
    maps = some(COUNT, SIDE, SIDE, seed=4)
    half = (minmax(maps, 0.0) > 0.5).flatten(1).numpy()
    limits = maps.flatten(1).topk(SIDE * SIDE // 10).values[:, -1:]
    tenth = (maps.flatten(1) >= limits).numpy()
    truth = masks.flatten(1).numpy()
    figures = {
        "iou": sklearn.jaccard_score,
        "dice": sklearn.f1_score,
        "precision": sklearn.precision_score,
        "recall": sklearn.recall_score,
    }
    for figure, reference in figures.items():
        for part, chosen in (("top10", tenth), ("50", half)):
            name = f"{figure}_{part}" if (figure, part) != ("iou", "50") else "attention_iou_50"
            expected = [reference(truth[row], chosen[row]) for row in range(COUNT)]
            assert values(name, maps, masks=masks) == pytest.approx(expected, abs=1e-12), name
    people = masks.float()
    expected = [sklearn.jaccard_score(truth[row], half[row]) for row in range(COUNT)]
    assert values("people_iou_50", maps, people=people) == pytest.approx(expected, abs=1e-12)
    expected = [sklearn.f1_score(truth[row], tenth[row]) for row in range(COUNT)]
    assert values("people_dice_top10", maps, people=people) == pytest.approx(expected, abs=1e-12)


def test_pot() -> None:
    places = np.stack(np.meshgrid(np.arange(16) / 16, np.arange(16) / 16, indexing="ij"), axis=-1).reshape(-1, 2)
    cost = ot.dist(places, places, metric="cityblock")
    maps = torch.cat([some(3, 7, 7, seed=5) - 0.5, torch.eye(7)[None], some(2, 7, 7, seed=6) ** 9])
    people = torch.cat([(some(3, 50, 61, seed=7) > 0.8).float(), some(3, 50, 61, seed=8) ** 4])
    people[1, :, :20] = torch.nan
    expected = []
    for heat, person in zip(upsample(maps.clamp(min=0), (50, 61)), people, strict=True):
        sides = [reduce_by_area((side * ~person.isnan()).nan_to_num().double()[None], (16, 16)).flatten().numpy()
                 for side in (heat, person.nan_to_num())]  # fmt: skip
        expected.append(ot.emd2(sides[0] / sides[0].sum(), sides[1] / sides[1].sum(), cost))
    assert values("emd", maps, people=people) == pytest.approx(expected, abs=1e-12)
