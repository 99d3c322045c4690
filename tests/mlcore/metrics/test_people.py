"""Agreement of maps with people, against scipy and scikit-image and by hand."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from skimage.metrics import structural_similarity

from mlcore.attribution.maps import evaluation_map, upsample
from mlcore.metrics import METRICS, score
from mlcore.metrics.emd import earth_movers_distance
from mlcore.metrics.people import average_ranks
from mlcore.metrics.people_maps import read_person, reduce_by_area

NAN = math.nan
PEOPLE = ("spearman", "pearson", "ssim", "people_dice_top10", "people_iou_50", "emd")


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_correlations_are_scipys_with_ties_and_unknown_pixels() -> None:
    heat, person = some(4, 6, 6) - 0.4, some(4, 20, 31, seed=1)
    person = (person * 4).round() / 4  # many ties
    person[1:, :7, 3:9] = NAN
    large = upsample(heat, (20, 31)).double()
    for name, reference in (("spearman", stats.spearmanr), ("pearson", stats.pearsonr)):
        found = score(name, heat, people=person)["per_image"]
        for row in range(4):
            known = ~person[row].isnan()
            expected = reference(large[row][known].numpy(), person[row][known].double().numpy()).statistic
            assert found[str(row)] == pytest.approx(expected, abs=1e-12), name


def test_ranks_are_averages() -> None:
    values = torch.tensor([[3.0, 1.0, 3.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0, -1.0]])
    assert average_ranks(values).tolist() == [[4, 1, 4, 2, 4], [3.5, 3.5, 3.5, 3.5, 1]]


def test_ssim_is_scikit_images() -> None:
    heat, person = some(3, 7, 7) - 0.3, some(3, 40, 29, seed=1)
    found = score("ssim", heat, people=person)["per_image"]
    large = evaluation_map(heat, (40, 29))
    for row in range(3):
        expected = structural_similarity(
            large[row].double().numpy(), person[row].double().numpy(), data_range=1.0, gaussian_weights=True,
            sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
        assert found[str(row)] == pytest.approx(expected, abs=1e-10)


def test_ssim_leaves_out_windows_with_unknown_pixels() -> None:
    heat, person = some(1, 30, 24), some(1, 30, 24, seed=1)
    half = person.clone()
    half[:, :, 12:] = NAN  # one column of windows less than 12 − 10 = 2 is left: columns 0–10 and 1–11
    full = structural_similarity(
        evaluation_map(heat, (30, 24))[0].double().numpy(), person[0].double().numpy(), data_range=1.0,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True,
    )[1]  # fmt: skip
    assert score("ssim", heat, people=half)["value"] == pytest.approx(full[5:25, 5:7].mean(), abs=1e-10)
    half[:, :, 10:] = NAN
    assert score("ssim", heat, people=half)["left_out"] == {"no window of 11 pixels is known": 1}
    assert score("ssim", some(1, 5, 5), people=some(1, 9, 30))["left_out"] == {"no window of 11 pixels is known": 1}


def test_dice_and_iou_by_hand() -> None:
    heat = torch.arange(20.0).view(1, 4, 5)  # brightest tenth: 18, 19; above the half: 10 … 19
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[3, 4] = mask[0, 0] = mask[3, 0] = True  # 19, 0, 15
    graded = mask.float() * 0.6
    graded[0, 1], graded[3, 4] = 0.9, 0.8  # brightest tenth: the second and the last pixel
    unknown = mask.float()
    unknown[3, 3] = unknown[3, 4] = unknown[0, 0] = NAN  # of 17 known: 17 and 16 are brightest, 15 is painted
    people = [mask, graded, unknown]
    expected = {
        "people_dice_top10": [2 * 1 / (2 + 3), 2 * 1 / (2 + 2), 0.0],
        "people_iou_50": [2 / (10 + 1), 2 / (10 + 2), 1 / 8],
    }
    for name, values in expected.items():
        found = score(name, heat.expand(3, 4, 5), people=people)["per_image"]
        assert list(found.values()) == pytest.approx(values), name


def test_the_earth_movers_distance_by_hand() -> None:
    def at(*places: tuple[int, int, float]) -> torch.Tensor:
        grid = torch.zeros(16, 16)
        for row, column, mass in places:
            grid[row, column] = mass
        return grid

    heat = torch.stack([at((0, 0, 5.0)), at((3, 3, 1.0), (9, 9, 1.0)), at((4, 4, 1.0)), at((2, 2, 3.0))])
    people = torch.stack(
        [at((15, 15, 0.5)), at((3, 5, 0.25), (8, 9, 0.25)), at((4, 3, 0.4), (4, 8, 0.2)), at((2, 2, 1.0))]
    )
    found = score("emd", heat, people=people)["per_image"]
    expected = [30 / 16, (0.5 * 2 + 0.5 * 1) / 16, (2 / 3 * 1 + 1 / 3 * 4) / 16, 0.0]
    assert list(found.values()) == pytest.approx(expected, abs=1e-12)
    one, other = (torch.rand(6, 1, generator=torch.Generator().manual_seed(s)).double() for s in (1, 2))
    one, other = (one / one.sum()).numpy(), (other / other.sum()).numpy()
    wide = [np.pad(side, ((0, 0), (0, 5))) for side in (one, other)]  # mass in one column: the line's distance
    places = np.arange(6) / 6
    line = stats.wasserstein_distance(places, places, one[:, 0], other[:, 0])
    assert earth_movers_distance(*wide) == pytest.approx(line, abs=1e-12)


def test_areas_are_exact_where_sizes_do_not_divide() -> None:
    maps = some(2, 7, 5).double()
    fine = maps.repeat_interleave(16, 1).repeat_interleave(16, 2)  # 112×80: 16 rows of 7, 16 columns of 5
    cells = fine.view(2, 16, 7, 16, 5).mean(dim=(2, 4))
    assert torch.allclose(reduce_by_area(maps, (16, 16)), cells, atol=1e-12)


def test_large_persons_maps_are_read_at_224() -> None:
    person = torch.zeros(448, 300)
    person[:100, :100] = 1
    person[0, 0] = person[0, 2] = person[1, 2] = person[1, 3] = NAN
    read = read_person(person)
    assert tuple(read.values.shape) == (224, 150)
    assert read.is_mask
    assert bool(read.known[0, 0])  # three quarters of it are known
    assert not bool(read.known[0, 1])  # a quarter
    assert read.values[0, 1] == 0
    assert read.values[:50, :50].sum() == 2499
    for wrong in (torch.full((2, 2), 1.5), torch.full((2, 2), -0.1), torch.tensor([[math.inf, 0.0]])):
        with pytest.raises(ValueError, match="from 0 to 1"):
            read_person(wrong)
    assert read_person(torch.tensor([[0, 255, 3]])).values.tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("name", PEOPLE)
def test_several_people_and_what_is_left_out(name: str) -> None:
    heat = some(7, 12, 12)
    heat[1], heat[2, 0, 0] = 0.0, NAN
    good, other = some(24, 24, seed=4), some(24, 24, seed=5)
    empty, unknown = torch.zeros(24, 24), torch.full((24, 24), NAN)
    people = [[good, other], good, good, None, [empty, unknown], [empty, good], torch.stack([good, other])]
    metric = METRICS[name]()
    metric.update(heat, people, list("abcdefg"))
    nothing = "zero map" if name == "emd" else "constant map"
    assert metric.left_out == {
        nothing: ["b"], "non-finite map": ["c"], "no person's map": ["d"], "empty person's map": ["e"],
    }  # fmt: skip
    alone = [score(name, heat[:1], people=[one])["value"] for one in (good, other)]
    assert metric.per_image["a"] == pytest.approx(sum(alone) / 2)
    assert metric.per_image["f"] == pytest.approx(score(name, heat[5:6], people=[good])["value"])
    if name in ("spearman", "pearson"):
        even = score(name, heat[:1], people=torch.full((1, 24, 24), 0.5))
        assert even["left_out"] == {"constant person's map": 1}
