"""Do the mixed model's 95 % intervals hold the true log-odds? Answers drawn from the model itself, many times.

    python -m bench.mixed_coverage [--draws 200] [--only 10×40]

Everyone decides about every image: logit P(tuned) = β + u_rater + v_image with known β and standard deviations. Beside
our interval (variances by statsmodels' variational fit, then Laplace, then Student's t) stand the same with the normal
quantile and statsmodels' own variational interval. Prints the share of intervals that hold β and their median width;
95 % is wanted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass

import numpy as np

from annotation.statistics.alignment import mixed

Z = 1.959963984540054


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
    print(f"draws: {given.draws}; each: held, median width")
    print("people × images     β  σ rater  σ image            ours   normal quantile  variational's own     s")
    for world in WORLDS:
        if given.only not in world.name:
            continue
        random, started = np.random.default_rng(0), time.process_time()
        held: list[list[bool]] = [[], [], []]
        widths: list[list[float]] = [[], [], []]
        student = mixed.quantile(world.people)
        for _ in range(given.draws):
            tuned, rater, image = draw(random, world)
            fitted = mixed.fit(tuned, rater, image)
            found = mixed.laplace(tuned, rater, image, mixed.deviations_of(fitted))
            if found is None:
                continue
            own = (float(fitted.fe_mean[0]), float(fitted.fe_sd[0]))
            for place, ((centre, deviation), times) in enumerate(((found, student), (found, Z), (own, Z))):
                held[place].append(abs(centre - world.log_odds) < times * deviation)
                widths[place].append(2 * times * deviation)
        shown = "  ".join(
            f"{statistics.fmean(some):>9.1%} {statistics.median(wide):>6.2f}"
            for some, wide in zip(held, widths, strict=True)
        )
        print(
            f"{world.name:<15} {world.log_odds:>5} {world.sd_rater:>8} {world.sd_image:>8}"
            f"{shown} {time.process_time() - started:>5.0f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
