"""Scripted annotators: people made of the true masks and stated error rates.

They give a fresh project its first answers and make experiments repeatable. Every figure that rests on them
says "simulated annotators". Three kinds of error, all seeded by (seed, image), so that the same annotator
answers the same image alike, whatever came before:

- boundary noise: the outline is moved by a smooth random offset, the standard deviation of each of its two
  components is `boundary` × the image's longer side;
- missed annotation: with probability `missed` nothing is drawn;
- wrong rating: with probability `wrong_rating` the map's rating says the opposite of what is so; so does a choice
  between two maps, and a verdict on a classifier's answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class ErrorRates:
    """How often and how far a scripted annotator errs. All three lie between 0 and 1."""

    boundary: float = 0.02
    missed: float = 0.05
    wrong_rating: float = 0.10

    def __post_init__(self) -> None:
        for name in ("boundary", "missed", "wrong_rating"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"The error rate {name} lies between 0 and 1, not {value}.")

    def sentence(self) -> str:
        """The rates in words, for every page and table that shows simulated figures."""
        return (
            f"Simulated annotators: outlines off by {self.boundary:.1%} of the image's longer side "
            f"(standard deviation), {self.missed:.0%} of drawings missed, "
            f"{self.wrong_rating:.0%} of ratings wrong."
        )


@dataclass(frozen=True)
class Rating:
    """Answers to the three questions of a reasonability study (definitions §2)."""

    necessary: bool  # Q1: contains necessary details
    unnecessary: bool  # Q2: contains unnecessary details
    quality: int  # Q3: 1 (poor) to 5 (good)

    @property
    def reasonable(self) -> bool:
        return self.necessary and not self.unnecessary


@dataclass(frozen=True)
class ScriptedAnnotator:
    """One simulated person. Two seeds are two people who err independently.

    A map is in focus where it exceeds `focus_threshold`. It contains the necessary details when the focus
    covers at least `necessary_share` of the object, and unnecessary ones when more than
    `unnecessary_share` of the focus lies off the object. Two maps are equal where the shares of their mass on the
    object differ by at most `equal_within`.
    """

    seed: int
    rates: ErrorRates = ErrorRates()
    focus_threshold: float = 0.5
    necessary_share: float = 0.4
    unnecessary_share: float = 0.5
    equal_within: float = 0.05

    def draw(self, mask: np.ndarray, image: str) -> np.ndarray | None:
        """The map drawn for a true mask, bool (H,W); None where the annotation is missed.

        `image` names the image: the same name gives the same drawing. Where the noise would leave nothing of
        a small object, the true mask is drawn. Raises ValueError for a mask that is not 2-D or is empty.
        """
        mask = _as_mask(mask)
        if not mask.any():
            raise ValueError(f"Image {image}: the true mask is empty, so there is nothing to draw.")
        rng = self._rng("draw", image)
        if rng.random() < self.rates.missed:
            return None
        drawn = _move_outline(mask, self.rates.boundary * max(mask.shape), rng)
        return drawn if drawn.any() else mask.copy()

    def rate(self, attention: np.ndarray, mask: np.ndarray, image: str) -> Rating:
        """Rate an evaluation map in [0,1], (H,W), against the true mask, (H,W).

        A wrong rating calls an unreasonable map reasonable, or finds one of the two faults, each as often,
        in a reasonable one. Raises ValueError where the shapes differ.
        """
        mask = _as_mask(mask)
        attention = np.asarray(attention, dtype=np.float64)
        if attention.shape != mask.shape:
            raise ValueError(f"Image {image}: the map is {attention.shape} and the true mask {mask.shape} pixels.")
        rng = self._rng("rate", image)
        wrong, which_fault = rng.random() < self.rates.wrong_rating, rng.random() < 0.5
        focus = attention > self.focus_threshold
        both = int((focus & mask).sum())
        necessary = both >= self.necessary_share * mask.sum() and both > 0
        unnecessary = int((focus & ~mask).sum()) > self.unnecessary_share * focus.sum()
        overlap = both / max(int((focus | mask).sum()), 1)
        quality = 1 + int(np.searchsorted((0.1, 0.25, 0.4, 0.55), overlap, side="right"))
        if wrong and necessary and not unnecessary:
            necessary, unnecessary, quality = not which_fault, not which_fault, 2
        elif wrong:
            necessary, unnecessary, quality = True, False, 4
        return Rating(bool(necessary), bool(unnecessary), quality)

    def prefer(self, first: np.ndarray, second: np.ndarray, mask: np.ndarray, image: str) -> int:
        """−1 where the first of two maps (H,W) has more of its mass on the object, 1 the second, 0 where both are
        equal. A wrong answer takes the other map; between equal ones, either. Raises ValueError where shapes differ."""
        mask = _as_mask(mask)
        shares = []
        for attention in (first, second):
            attention = np.clip(np.asarray(attention, dtype=np.float64), 0, None)
            if attention.shape != mask.shape:
                raise ValueError(f"Image {image}: the map is {attention.shape} and the true mask {mask.shape} pixels.")
            shares.append(float(attention[mask].sum() / max(attention.sum(), 1e-12)))
        rng = self._rng("prefer", image)
        wrong, which = rng.random() < self.rates.wrong_rating, 1 if rng.random() < 0.5 else -1
        gain = shares[1] - shares[0]
        said = 0 if abs(gain) <= self.equal_within else 1 if gain > 0 else -1
        return (-said or which) if wrong else said

    def accept(self, right: bool, image: str) -> bool:
        """Whether a classifier's answer that is right, or not, is accepted."""
        return right != (self._rng("accept", image).random() < self.rates.wrong_rating)

    def _rng(self, purpose: str, image: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{self.seed}/{purpose}/{image}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def _as_mask(mask: np.ndarray) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"A mask has two dimensions, not {mask.ndim}.")
    return mask.astype(bool)


def _move_outline(mask: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """The mask read through a smooth random displacement field, bool (H,W).

    Each component of the field has mean 0 and standard deviation `deviation` pixels over the image and
    bends about four times along its longer side: the wobble of a hand, not pixel noise.
    """
    if deviation == 0:
        return mask.copy()
    height, width = mask.shape
    longer = max(height, width)
    cells = (max(3, round(8 * height / longer)), max(3, round(8 * width / longer)))
    offsets = []
    for _ in range(2):
        coarse = Image.fromarray(rng.standard_normal(cells).astype(np.float32))
        field = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
        offsets.append((field - field.mean()) / (field.std() + 1e-12) * deviation)
    ys, xs = np.mgrid[0:height, 0:width]
    rows = np.clip((ys + offsets[0]).round().astype(int), 0, height - 1)
    columns = np.clip((xs + offsets[1]).round().astype(int), 0, width - 1)
    return mask[rows, columns]
