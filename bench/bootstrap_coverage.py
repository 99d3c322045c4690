"""Do the intervals of the alignment hold the truth? Student's t over raters beside the two-way bootstrap.

    python -m bench.bootstrap_coverage [--studies 1000] [--draws 400]

Everyone answers about every image: z = 0.3 + u_rater + v_image + noise, all normal, the noise with standard deviation
1; |z| < ½ is neither, z > ½ tuned. The true alignment is known: of other people about these images, and of other
people about other images. Prints how often each interval holds either, and median widths; 95 % is wanted.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from statistics import NormalDist

import numpy as np

from annotation.statistics.alignment import bootstrap, scores
from annotation.statistics.alignment.rows import Rows

LEAN, EQUAL = 0.3, 0.5
# People, images, standard deviation between people and between images.
WORLDS = ((10, 40, 0.2, 0.2), (10, 40, 0.5, 0.5), (30, 40, 0.5, 0.0), (30, 40, 0.5, 0.5), (30, 40, 0.5, 1.0))


def alignment(mean: float, variance: float) -> float:
    """P(z > ½) − P(z < −½) of z ~ N(mean, variance)."""
    z = NormalDist(mean, math.sqrt(variance))
    return 1 - z.cdf(EQUAL) - z.cdf(-EQUAL)


def study(random: np.random.Generator, people: int, images: int, sd_rater: float, of_image: np.ndarray) -> Rows:
    z = LEAN + random.normal(0, sd_rater, people)[:, None] + of_image[None] + random.normal(size=(people, images))
    number = people * images
    return Rows(
        rater=np.repeat(np.arange(people), images),
        image=np.tile(np.arange(images), people),
        cell=np.zeros(number, dtype=int),
        choice=np.where(np.abs(z) < EQUAL, 0, np.sign(z)).astype(np.int8).reshape(-1),
        left=np.full(number, -1),
        milliseconds=np.full(number, -1),
        raters=tuple(f"p{place}" for place in range(people)),
        kinds=("simulated",) * people,
        images=tuple(f"i{place}" for place in range(images)),
        cells=("",),
    )


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--studies", type=int, default=1000)
    arguments.add_argument("--draws", type=int, default=400)
    given = arguments.parse_args()
    print(f"{given.studies} studies, {given.draws} draws; held of these images, of other images, median width")
    print("people × images  σ rater  σ image   Student's t over raters     two-way bootstrap")
    for people, images, sd_rater, sd_image in WORLDS:
        random = np.random.default_rng(0)
        whole = alignment(LEAN, sd_rater**2 + sd_image**2 + 1)
        found: list[list[tuple[bool, bool, float]]] = [[], []]
        for number in range(given.studies):
            of_image = random.normal(0, sd_image, images)
            these = statistics.fmean(alignment(LEAN + lean, sd_rater**2 + 1) for lean in of_image)
            rows = study(random, people, images, sd_rater, of_image)
            student = scores.summary(rows)["alignment"]
            drawn = bootstrap.interval(rows, draws=given.draws, seed=number)
            for kept, one in zip(found, (student, drawn), strict=True):
                low, high = one["low"], one["high"]
                kept.append((low <= these <= high, low <= whole <= high, high - low))
        shown = "   ".join(
            f"{statistics.fmean(one[0] for one in kept):>7.1%} {statistics.fmean(one[1] for one in kept):>7.1%}"
            f" {statistics.median(one[2] for one in kept):>5.2f}"
            for kept in found
        )
        print(f"{f'{people} × {images}':<15} {sd_rater:>8} {sd_image:>8}   {shown}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
