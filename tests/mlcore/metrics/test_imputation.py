"""Filled-in pixels are the weighted mean of their neighbours, equal to a sparse direct solution (definitions §5)."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

from mlcore.attribution.maps import upsample
from mlcore.metrics import imputation, multigrid
from mlcore.metrics.direct_filling import fill_directly
from mlcore.metrics.imputation import impute
from mlcore.metrics.perturbation import ranks
from mlcore.metrics.road import SHARES


def direct(images: Tensor, removed: Tensor) -> Tensor:
    """The equations as they stand in the definition, one pixel after another, solved in double precision."""
    found = images.double().clone()
    for image, gone, result in zip(images.double(), removed, found, strict=True):
        height, width = gone.shape
        number = -np.ones((height, width), dtype=int)
        places = [tuple(place) for place in gone.nonzero().tolist()]
        for index, place in enumerate(places):
            number[place] = index
        left = sparse.lil_matrix((len(places), len(places)))
        right = np.zeros((len(places), len(image)))
        for index, (row, column) in enumerate(places):
            for down in (-1, 0, 1):
                for over in (-1, 0, 1):
                    y, x = row + down, column + over
                    if (down, over) == (0, 0) or not (0 <= y < height and 0 <= x < width):
                        continue
                    weight = 1 / 6 if 0 in (down, over) else 1 / 12
                    left[index, index] += weight
                    if gone[y, x]:
                        left[index, number[y, x]] -= weight
                    else:
                        right[index] += weight * image[:, y, x].numpy()
        if places:
            rows, columns = zip(*places, strict=True)
            solved = spsolve(left.tocsc(), right).reshape(len(places), -1)
            result[:, list(rows), list(columns)] = torch.from_numpy(solved.T)
    return found


def scene(height: int, width: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_one_pixel_by_hand() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    middle = torch.zeros(1, 3, 3, dtype=torch.bool)
    middle[0, 1, 1] = True
    assert float(impute(image, middle)[0, 0, 1, 1]) == pytest.approx((1 + 3 + 5 + 7) / 6 + (0 + 2 + 6 + 8) / 12)
    corner = torch.zeros(1, 3, 3, dtype=torch.bool)
    corner[0, 0, 0] = True  # two beside it, one diagonal: (1/6 + 1/6 + 1/12) of the weights are inside
    assert float(impute(image, corner)[0, 0, 0, 0]) == pytest.approx((1 / 6 + 3 / 6 + 4 / 12) / (5 / 12))
    assert torch.equal(impute(image, corner)[0, 0].flatten()[1:], image[0, 0].flatten()[1:])


def test_two_neighbours_depend_on_each_other() -> None:
    image = torch.tensor([[[[1.0, 0.0, 0.0, 4.0]]]])  # u = (1 + v)/2, v = (u + 4)/2
    removed = torch.tensor([[[False, True, True, False]]])
    assert impute(image, removed).flatten().tolist() == pytest.approx([1, 2, 3, 4], abs=1e-5)


@pytest.mark.parametrize(("height", "width"), [(1, 9), (7, 7), (16, 23), (33, 40)])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.86, 0.99])
def test_scattered_holes_against_a_direct_solution(height: int, width: int, share: float) -> None:
    images = scene(height, width)
    order = torch.rand(1, height, width, generator=torch.Generator().manual_seed(1)).flatten().argsort()
    removed = torch.zeros(1, height * width, dtype=torch.bool)
    removed[0, order[: min(int(share * height * width), height * width - 1)]] = True
    removed = removed.view(1, height, width)
    assert float((impute(images, removed) - direct(images, removed)).abs().max()) < 1e-5


@pytest.mark.parametrize(("height", "width"), [(48, 48), (61, 34)])
@pytest.mark.parametrize("kind", ["blob", "frame", "half", "stripes", "all but one", "wall"])
def test_large_holes_against_a_direct_solution(kind: str, height: int, width: int) -> None:
    images = scene(height, width)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    middle = (rows - height // 2) ** 2 + (columns - width // 2) ** 2
    removed = {
        "blob": middle < 15**2,
        "frame": middle > 9**2,
        "half": columns < width // 2,
        "stripes": columns % 3 != 0,
        "all but one": middle > 0,
        "wall": columns != width // 3,  # two holes with one known column between them
    }[kind][None]
    largest = float(images.movedim(1, -1)[~removed].abs().max())
    assert float((impute(images, removed) - direct(images, removed)).abs().max()) < 2e-5 * largest


@pytest.mark.parametrize("size", [(37, 50), (40, 29)])
@pytest.mark.parametrize("cells", [2, 5, 12])
def test_areas_of_a_smooth_map_against_a_direct_solution(cells: int, size: tuple[int, int]) -> None:
    # Areas of any outline, also along the picture's sides and in its corners.
    places = ranks(upsample(torch.rand(1, cells, cells, generator=torch.Generator().manual_seed(cells)), size))
    removed = torch.cat([places < size[0] * size[1] * share // 100 for share in SHARES])
    assert bool(removed[:, 0].any() | removed[:, -1].any())
    images = scene(*size)
    found = impute(images.expand(len(SHARES), -1, -1, -1), removed)
    assert float((found - direct(images.expand(len(SHARES), -1, -1, -1), removed)).abs().max()) < 1e-5


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
def test_sweeps_alone_and_cycles_find_the_same(share: float, monkeypatch: Any) -> None:
    images = scene(45, 38)
    removed = torch.rand(1, 45, 38, generator=torch.Generator().manual_seed(2)) < share
    right, found = direct(images, removed), []
    for most in (1, -1):
        monkeypatch.setattr(imputation, "MOST_DEEP", most)
        found.append(impute(images, removed))
        assert float((found[-1] - right).abs().max()) < 2e-5
    assert not torch.equal(*found)


def test_sweeps_give_up_on_wide_holes(monkeypatch: Any) -> None:
    monkeypatch.setattr(imputation, "MOST_DEEP", 1)
    images, removed = scene(40, 40), torch.zeros(1, 40, 40, dtype=torch.bool)
    removed[0, 5:35, 5:35] = True
    removed[0, 0, 0] = True
    assert float((impute(images, removed) - direct(images, removed)).abs().max()) < 1e-5


def test_autocast_does_not_round_the_equations() -> None:
    images, removed = scene(40, 40), torch.zeros(1, 40, 40, dtype=torch.bool)
    removed[0, 2:, 3:] = True
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = impute(images, removed)
    assert found.dtype == torch.float32
    assert torch.equal(found, impute(images, removed))


@pytest.mark.parametrize("places", [[(8, 31)], [(1, 26), (7, 33)]])
def test_holes_that_coarse_nodes_hardly_see_settle(places: list[tuple[int, int]], monkeypatch: Any) -> None:
    # Two nodes of the coarsest level see the same few pixels, each with a small weight: a singular matrix there.
    monkeypatch.setattr(imputation, "fill_directly", None)
    images, removed = scene(12, 132), torch.zeros(1, 12, 132, dtype=torch.bool)
    for row, column in places:
        removed[0, row, column] = True
    assert float((impute(images, removed) - direct(images, removed)).abs().max()) < 1e-5


@pytest.mark.parametrize("share", [0.0, 0.3, 0.97])
def test_what_does_not_settle_is_solved_directly(share: float, monkeypatch: Any) -> None:
    monkeypatch.setattr(imputation, "MOST_CYCLES", 0)
    monkeypatch.setattr(imputation, "MOST_DEEP", -1)
    images = scene(17, 26)
    removed = torch.rand(1, 17, 26, generator=torch.Generator().manual_seed(1)) < share
    found = impute(images, removed)
    assert float((found - direct(images, removed)).abs().max()) < 1e-5
    assert torch.equal(found.movedim(1, -1)[~removed], images.movedim(1, -1)[~removed])


def test_a_picture_that_does_not_settle_leaves_the_others_alone(monkeypatch: Any) -> None:
    images, whole, solved = torch.cat([scene(24, 24, seed) for seed in range(5)]), multigrid._inverse, []

    def broken(*given: Any) -> Tensor:
        found = whole(*given)
        found[1] = float("nan")
        found[3] *= -1e6
        return found

    def counted(known: Tensor, removed: Tensor) -> Tensor:
        solved.append(known)
        return fill_directly(known, removed)

    removed = torch.rand(5, 24, 24, generator=torch.Generator().manual_seed(1)) < 0.8
    monkeypatch.setattr(multigrid, "_inverse", broken)
    monkeypatch.setattr(imputation, "fill_directly", counted)
    errors = (impute(images, removed) - direct(images, removed)).abs().amax(dim=(1, 2, 3))
    assert len(solved) == 1  # the one that is no number; the other settles, though it takes its time
    assert float(errors[[0, 1, 2, 4]].max()) < 1e-5
    assert float(errors[3]) < 2e-5 * float(images[3].abs().max())


def test_a_constant_picture_stays_constant_and_nothing_removed_is_nothing_changed() -> None:
    removed = torch.rand(2, 30, 30, generator=torch.Generator().manual_seed(0)) < 0.8
    assert torch.allclose(impute(torch.full((2, 3, 30, 30), 0.7), removed), torch.tensor(0.7), atol=1e-5)
    images = scene(30, 30)
    assert torch.equal(impute(images, torch.zeros(1, 30, 30, dtype=torch.bool)), images)
    assert impute(images[:0], removed[:0]).shape == (0, 3, 30, 30)


def test_many_are_as_one_and_flips_flip() -> None:
    images = torch.cat([scene(40, 30, seed) for seed in range(20)])
    removed = (
        torch.rand(20, 40, 30, generator=torch.Generator().manual_seed(0))
        < torch.linspace(0.02, 0.97, 20)[:, None, None]
    )
    together = impute(images, removed)
    for index in (0, 7, 19):
        alone = impute(images[index : index + 1], removed[index : index + 1])
        assert float((together[index] - alone[0]).abs().max()) < 2e-5
    flipped = impute(images.flip(3), removed.flip(2)).flip(3)
    assert float((together - flipped).abs().max()) < 3e-5


def test_the_same_memory_for_one_part_after_another(monkeypatch: Any) -> None:
    images = torch.cat([scene(21, 18, seed) for seed in range(5)])
    removed = torch.rand(5, 21, 18, generator=torch.Generator().manual_seed(0)) < torch.tensor(
        [0.9, 0.2, 0.95, 0.02, 0.5]
    ).view(5, 1, 1)
    monkeypatch.setitem(imputation.TOGETHER, "cpu", 2 * 3 * 21 * 18)  # two, two and one
    assert float((impute(images, removed) - direct(images, removed)).abs().max()) < 1e-5


def test_bad_input_is_refused() -> None:
    images = scene(8, 8)
    with pytest.raises(ValueError, match="every pixel"):
        impute(images, torch.ones(1, 8, 8, dtype=torch.bool))
    with pytest.raises(ValueError, match="need removed pixels"):
        impute(images, torch.ones(8, 8, dtype=torch.bool))
    removed = torch.zeros(1, 8, 8, dtype=torch.bool)
    removed[0, 0, 0] = True
    images[0, 0, 5, 5] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        impute(images, removed)
    images[0, 0, 5, 5] = 0
    images[0, 0, 0, 0] = float("nan")  # what is removed may be anything
    assert bool(torch.isfinite(impute(images, removed)).all())
