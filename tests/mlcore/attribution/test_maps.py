"""Scaling maps; a map without information is named, never divided into NaN."""

import subprocess
import sys

import pytest
import torch

from mlcore.attribution import METHODS, explain
from mlcore.attribution.grad_cam import GradCAM
from mlcore.attribution.maps import evaluation_map, minmax, normalise_max, status, upsample
from tests.mlcore.attribution.nets import PoolLinear, images

NAN, INF = float("nan"), float("inf")
MAPS = torch.tensor(
    [
        [[1.0, 3.0], [2.0, 5.0]],
        [[2.0, 2.0], [2.0, 2.0]],
        [[0.0, 0.0], [0.0, 0.0]],
        [[1.0, NAN], [0.0, 2.0]],
        [[1.0, INF], [0.0, 2.0]],
        [[-1.0, -3.0], [-2.0, -1.0]],
    ]
)


def test_status_by_name() -> None:
    assert status(MAPS) == ["ok", "constant", "constant", "nonfinite", "nonfinite", "ok"]


def test_minmax_by_hand_and_without_nan() -> None:
    scaled = minmax(MAPS, eps=0.0)
    assert torch.equal(scaled[0], torch.tensor([[0.0, 0.5], [0.25, 1.0]]))
    assert torch.equal(scaled[5], torch.tensor([[1.0, 0.0], [0.5, 1.0]]))
    assert torch.equal(scaled[1:5], torch.zeros(4, 2, 2))
    assert torch.allclose(minmax(MAPS[:1], eps=1.0)[0], torch.tensor([[0.0, 0.4], [0.2, 0.8]]))


def test_gradient_of_a_batch_with_useless_maps_is_finite() -> None:
    maps = MAPS.clone().requires_grad_()
    minmax(maps, eps=0.0).square().sum().backward()
    assert torch.isfinite(maps.grad).all()
    assert maps.grad[0].abs().sum() > 0
    assert maps.grad[1:5].abs().sum() == 0


def test_minmax_gradient_by_finite_differences() -> None:
    maps = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: minmax(m, 1e-8), (maps,))


def test_normalise_max() -> None:
    scaled = normalise_max(MAPS)
    assert torch.equal(scaled[0], MAPS[0] / 5)
    assert torch.equal(scaled[2:], torch.zeros(4, 2, 2))


def test_upsampling_aligns_areas_not_corners() -> None:
    row = torch.tensor([[[0.0, 4.0]]])
    assert torch.equal(upsample(row, (1, 4)), torch.tensor([[[0.0, 1.0, 3.0, 4.0]]]))
    assert upsample(row, (1, 2)) is row


def test_evaluation_map_clamps_before_it_scales() -> None:
    heat = torch.tensor([[[-4.0, 0.0], [1.0, 2.0]]])
    assert torch.equal(evaluation_map(heat, (2, 2)), torch.tensor([[[0.0, 0.0], [0.5, 1.0]]]))
    kept = evaluation_map(heat, (2, 2), relu=False)
    assert torch.allclose(kept, torch.tensor([[[0.0, 4 / 6], [5 / 6, 1.0]]]))
    assert torch.equal(evaluation_map(MAPS[1:5], (4, 4)), torch.zeros(4, 4, 4))


def test_three_line_use_and_unknown_methods() -> None:
    model = PoolLinear().double()
    expected = GradCAM(model, preset="gradia").explain(images(), 1)
    assert torch.equal(explain(model, images(), 1, preset="gradia"), expected)
    assert METHODS["grad_cam"] is GradCAM
    assert len(METHODS) == len(list(METHODS))
    with pytest.raises(KeyError, match=r"no method “psychic”; there are .*grad_cam"):
        explain(model, images(), 1, method="psychic")


def test_packages_load_no_torch_until_used() -> None:
    code = (
        "import sys, mlcore.attribution as a, mlcore.objectives as o, mlcore.metrics as m;"
        "assert 'torch' not in sys.modules and 'django' not in sys.modules;"
        "[r[k] for r in (a.METHODS, o.OBJECTIVES, m.METRICS) for k in r];"
        "assert 'torch' in sys.modules and 'django' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
