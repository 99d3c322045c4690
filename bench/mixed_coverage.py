"""Do the mixed model's 95 % intervals hold the true log-odds? Answers drawn from the model itself, many times.

    python -m bench.mixed_coverage [--draws 200] [--only 10×40]

Everyone decides about every image: logit P(tuned) = β + u_rater + v_image with known β and standard deviations. Beside
our interval (variances by statsmodels' variational fit, then Laplace) stands statsmodels' own variational interval.
Prints the share of intervals that hold β, with its binomial standard error, and their median width; 95 % is wanted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass

import numpy as np

from annotation.statistics.alignment import mixed


@dataclass(frozen=True)
class World:
    people: int
    images: int
    log_odds: float
    sd_rater: float
    sd_image: float

    @property
    def name(self) -> str:
        return f"{self.people}×{self.images}"


WORLDS = (
    World(5, 40, 0.5, 0.7, 0.7),
    World(10, 40, 0.0, 0.1, 0.1),
    World(10, 40, 0.5, 0.7, 0.7),
    World(10, 40, 0.5, 1.5, 0.7),
    World(10, 40, 2.0, 1.0, 1.0),
    World(20, 40, -1.0, 1.0, 0.5),
    World(30, 80, 0.5, 0.7, 1.5),
)


def draw(random: np.random.Generator, world: World) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tuned (n,) 0 or 1; rater (n,), image (n,)."""
    rater = np.repeat(np.arange(world.people), world.images)
    image = np.tile(np.arange(world.images), world.people)
    of_rater, of_image = random.normal(0, world.sd_rater, world.people), random.normal(0, world.sd_image, world.images)
    logits = world.log_odds + of_rater[rater] + of_image[image]
    return (random.random(len(rater)) < 1 / (1 + np.exp(-logits))).astype(float), rater, image


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--draws", type=int, default=200)
    arguments.add_argument("--only", default="", help="worlds whose name (people×images) holds this")
    given = arguments.parse_args()
    print("people × images     β  σ rater  σ image    held  ± s.e.   width   variational's own: held   width     s")
    for world in WORLDS:
        if given.only not in world.name:
            continue
        random, started = np.random.default_rng(0), time.process_time()
        held: list[list[bool]] = [[], []]
        widths: list[list[float]] = [[], []]
        for _ in range(given.draws):
            tuned, rater, image = draw(random, world)
            fitted = mixed.fit(tuned, rater, image)
            found = mixed.laplace(tuned, rater, image, mixed.deviations_of(fitted))
            if found is None:
                continue
            for place, (centre, deviation) in enumerate((found, (fitted.fe_mean[0], fitted.fe_sd[0]))):
                held[place].append(bool(abs(centre - world.log_odds) < mixed.Z * deviation))
                widths[place].append(2 * mixed.Z * float(deviation))
        share, own = (statistics.fmean(one) for one in held)
        error = (share * (1 - share) / len(held[0])) ** 0.5
        wide, narrow = (statistics.median(one) for one in widths)
        print(
            f"{world.name:<15} {world.log_odds:>5} {world.sd_rater:>8} {world.sd_image:>8} {share:>7.1%} {error:>7.1%}"
            f" {wide:>7.2f} {own:>25.1%} {narrow:>7.2f} {time.process_time() - started:>5.0f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
