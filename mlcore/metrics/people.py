"""How far a map agrees with what people drew (definitions §7).

A person's map is numbers in [0, 1] with NaN where nobody said, or a mask. It is read at no more than 224 pixels on its
longer side, reduced by area; the classifier's map is enlarged to that size (bilinear). Unknown pixels enter nothing.
Several people of one image: the mean of the agreements with each. `mlcore.metrics.ceiling` compares people with
people by the same figures.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mlcore.attribution.maps import evaluation_map, upsample
from mlcore.metrics.base import CONSTANT_MAP, NONFINITE_MAP, PIXELS_AT_ONCE, ZERO_MAP, Metric, as_maps, check_lengths
from mlcore.metrics.emd import GRID, earth_movers_distance
from mlcore.metrics.overlap import brightest_tenth
from mlcore.metrics.people_maps import People, Person, people_of, reduce_by_area, same_size

NO_PERSON = "no person's map"
EMPTY_PERSON = "empty person's map"
CONSTANT_PERSON = "constant person's map"
TOO_LITTLE = "no window of 11 pixels is known"
HALF = 0.5
EVEN = 1e-12


class PeopleMetric(Metric):
    """One figure of the agreement of a map with people's maps; mean over images."""

    takes = ("maps", "people", "names")

    def update(self, maps: Tensor, people: People, names: Sequence[str]) -> None:
        """maps (B, h, w); people: for each image one map (H, W), several, or None; names of the B images."""
        check_lengths(maps=maps, people=people, names=names)
        maps = as_maps(maps)
        finite = torch.isfinite(maps).flatten(1).all(dim=1).tolist()
        outcomes: list[list[float | str]] = [[] for _ in names]
        rows: list[int] = []
        persons: list[Person] = []
        for row, given in enumerate(people):
            there = people_of(given, maps.device)
            if not finite[row]:
                outcomes[row].append(NONFINITE_MAP)
            elif not there:
                outcomes[row].append(NO_PERSON)
            else:
                rows += [row] * len(there)
                persons += there
        for which, values, known in same_size(persons, PIXELS_AT_ONCE):
            of = [rows[number] for number in which]
            heat = self.of_map(maps[of], known)
            masks = [persons[number].is_mask for number in which]
            compared = self.compare(heat, self.of_person(values, known, masks), known)
            drawn = ((values > 0) & known).flatten(1).any(dim=1).tolist()
            for row, outcome, something in zip(of, compared, drawn, strict=True):
                outcomes[row].append(outcome if something else EMPTY_PERSON)
        for name, found in zip(names, outcomes, strict=True):
            counted = [value for value in found if not isinstance(value, str)]
            self.note(name, math.fsum(counted) / len(counted) if counted else found[0])

    def of_map(self, maps: Tensor, known: Tensor) -> Tensor:
        """What is compared of maps (B, h, w), at the size of known (B, H, W); all zero where all cells are equal."""
        constant = (maps.amax(dim=(1, 2)) == maps.amin(dim=(1, 2)))[:, None, None]
        return upsample(maps, (known.shape[1], known.shape[2])).masked_fill(constant, 0.0)

    def of_person(self, values: Tensor, known: Tensor, masks: Sequence[bool]) -> Tensor:
        """What is compared of people's maps (B, H, W); masks: which of them are."""
        return values

    @abstractmethod
    def compare(self, first: Tensor, second: Tensor, known: Tensor) -> list[float | str]:
        """Figures of (B, H, W) against (B, H, W) where known; or why there is none. Both sides are treated alike."""


class Pearson(PeopleMetric):
    """Correlation over known pixels, of the map as it is given (no ReLU)."""

    name = "pearson"

    def compare(self, first: Tensor, second: Tensor, known: Tensor) -> list[float | str]:
        """In [−1, 1]; a side that is constant has no correlation."""
        weight = known.flatten(1).double()
        left, flat = _centred(self.ranked(first, known), weight)
        right, even = _centred(self.ranked(second, known), weight)
        found = ((left * right).sum(dim=1)).clamp(-1, 1).tolist()
        return [
            CONSTANT_MAP if no_map else CONSTANT_PERSON if no_person else value
            for value, no_map, no_person in zip(found, flat, even, strict=True)
        ]

    def ranked(self, values: Tensor, known: Tensor) -> Tensor:
        """The numbers that are correlated, (B, n) float64."""
        return values.flatten(1).double()


class Spearman(Pearson):
    """Rank correlation over known pixels, of the map as it is given (no ReLU); equal pixels share their mean rank."""

    name = "spearman"

    def ranked(self, values: Tensor, known: Tensor) -> Tensor:
        """Ranks from 1 among the known."""
        return average_ranks(values.flatten(1).masked_fill(~known.flatten(1), torch.inf))


class SSIM(PeopleMetric):
    """Structural similarity of the evaluation map (ReLU, bilinear, min–max) and the person's map.

    Gaussian window of 11×11 pixels with σ 1.5, K₁ 0.01, K₂ 0.03, data range 1, population moments; mean over the
    windows that lie wholly in the picture and in what is known (Wang et al., IEEE TIP 2004).
    """

    name = "ssim"

    def of_map(self, maps: Tensor, known: Tensor) -> Tensor:
        """The evaluation map."""
        return evaluation_map(maps, (known.shape[1], known.shape[2]))

    def compare(self, first: Tensor, second: Tensor, known: Tensor) -> list[float | str]:
        """In [−1, 1]."""
        if min(known.shape[1:]) < _WINDOW:
            return [TOO_LITTLE] * len(known)
        x, y = first.double() * known, second.double() * known
        mean_x, mean_y = _blur(x), _blur(y)
        var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
        shared = _blur(x * y) - mean_x * mean_y
        low, high = 0.01**2, 0.03**2
        found = (2 * mean_x * mean_y + low) * (2 * shared + high)
        found = found / ((mean_x**2 + mean_y**2 + low) * (var_x + var_y + high))
        whole = (-F.max_pool2d(-known[:, None].double(), _WINDOW, stride=1)).flatten(1)
        counts = whole.sum(dim=1)
        means = ((found.flatten(1) * whole).sum(dim=1) / counts.clamp(min=1)).tolist()
        nothing = (first.flatten(1) == 0).all(dim=1).tolist()
        return [
            CONSTANT_MAP if empty else value if count else TOO_LITTLE
            for value, count, empty in zip(means, counts.tolist(), nothing, strict=True)
        ]


class PeopleDice(PeopleMetric):
    """Dice of the evaluation map's brightest tenth and the person's, 2·Σ min / (Σ + Σ), among known pixels.

    A tenth is ⌈n/10⌉ pixels' worth; equal pixels at its limit share the places (`mlcore.metrics.overlap`). A person's
    mask has no brighter and darker part: it is taken whole.
    """

    name = "people_dice_top10"

    def of_map(self, maps: Tensor, known: Tensor) -> Tensor:
        """Each pixel's share in the brightest tenth; all zero where the evaluation map is."""
        large = evaluation_map(maps, (known.shape[1], known.shape[2]))
        return brightest_tenth(large, known) * (large > 0).flatten(1).any(dim=1)[:, None, None]

    def of_person(self, values: Tensor, known: Tensor, masks: Sequence[bool]) -> Tensor:
        """The mask, or each pixel's share in the brightest tenth."""
        mask = torch.tensor(masks, device=values.device)[:, None, None]
        return torch.where(mask, ((values > HALF) & known).double(), brightest_tenth(values, known))

    def compare(self, first: Tensor, second: Tensor, known: Tensor) -> list[float | str]:
        """In [0, 1]."""
        areas = first.flatten(1).sum(dim=1)
        shared = torch.minimum(first, second).flatten(1).sum(dim=1)
        whole = areas + second.flatten(1).sum(dim=1)
        found = (2 * shared / whole.clamp(min=EVEN)).tolist()
        return [value if area > 0 else CONSTANT_MAP for value, area in zip(found, areas.tolist(), strict=True)]


class PeopleIoU(PeopleMetric):
    """IoU of [evaluation map > 0.5] and [person's map > 0.5] among known pixels."""

    name = "people_iou_50"

    def of_map(self, maps: Tensor, known: Tensor) -> Tensor:
        """The evaluation map."""
        return evaluation_map(maps, (known.shape[1], known.shape[2]))

    def compare(self, first: Tensor, second: Tensor, known: Tensor) -> list[float | str]:
        """In [0, 1]."""
        left, right = (first > HALF) & known, (second > HALF) & known
        shared = (left & right).flatten(1).sum(dim=1).tolist()
        either = (left | right).flatten(1).sum(dim=1).tolist()
        nothing = (first.flatten(1) == 0).all(dim=1).tolist()
        drawn = right.flatten(1).any(dim=1).tolist()
        return [
            CONSTANT_MAP if empty else shared_one / either_one if there else EMPTY_PERSON
            for shared_one, either_one, empty, there in zip(shared, either, nothing, drawn, strict=True)
        ]


class EMD(PeopleMetric):
    """Earth mover's distance of both maps' positive mass, reduced by area to 16×16 and made to sum to 1.

    Exact, with city-block distance between cells' centres in sides of the picture: 0 is the same map, 2·15/16 corner
    to corner. Mass on unknown pixels is left out of both maps.
    """

    name = "emd"

    def of_map(self, maps: Tensor, known: Tensor) -> Tensor:
        """The positive part."""
        return upsample(maps.clamp(min=0), (known.shape[1], known.shape[2]))

    def compare(self, first: Tensor, second: Tensor, known: Tensor) -> list[float | str]:
        """0 or more, lower is nearer."""
        cells = (GRID, GRID)
        masses = [reduce_by_area(side.double() * known, cells) for side in (first, second)]
        found: list[float | str] = []
        for one, other in zip(*masses, strict=True):
            if not bool(one.sum() > 0):
                found.append(ZERO_MAP)
            elif not bool(other.sum() > 0):
                found.append(EMPTY_PERSON)
            else:
                left, right = (one / one.sum()).cpu().numpy(), (other / other.sum()).cpu().numpy()
                found.append(earth_movers_distance(left, right))
        return found


_WINDOW = 11


def average_ranks(values: Tensor) -> Tensor:
    """Ranks from 1 within each row of (B, n), float64; equal values share the mean of their ranks."""
    ordered, order = values.sort(dim=1)
    count = values.shape[1]
    place = torch.arange(count, device=values.device).expand_as(ordered)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    last = torch.ones_like(new)
    last[:, :-1] = new[:, 1:]
    first_place = torch.where(new, place, 0).cummax(dim=1).values
    last_place = torch.where(last, place, count).flip(1).cummin(dim=1).values.flip(1)
    return torch.empty_like(ordered, dtype=torch.float64).scatter_(
        1, order, (first_place + last_place).double() / 2 + 1
    )


def _centred(values: Tensor, weight: Tensor) -> tuple[Tensor, list[bool]]:
    """(B, n) less its mean, of length 1, zero where weight is; and which rows are constant there."""
    count = weight.sum(dim=1, keepdim=True).clamp(min=1)
    values = torch.where(weight > 0, values, 0.0)
    scale = values.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    values = values / scale
    values = (values - (values * weight).sum(dim=1, keepdim=True) / count) * weight
    length = values.norm(dim=1, keepdim=True)
    constant = length <= EVEN * count.sqrt()
    return values / length.clamp(min=EVEN), constant[:, 0].tolist()


def _blur(pictures: Tensor) -> Tensor:
    """Gaussian means of the windows wholly inside: (B, H, W) float64 → (B, H − 10, W − 10)."""
    places = torch.arange(_WINDOW, dtype=torch.float64, device=pictures.device) - _WINDOW // 2
    weights = torch.exp(-(places**2) / (2 * 1.5**2))
    weights = weights / weights.sum()
    found = pictures
    for axis in (1, 2):
        left = found.shape[axis] - _WINDOW + 1
        blurred = weights[0] * found.narrow(axis, 0, left)
        for shift in range(1, _WINDOW):
            blurred.add_(found.narrow(axis, shift, left), alpha=float(weights[shift]))
        found = blurred
    return found
