"""Does the next trial cost the same in a large study? Claims at 1,000,000 and at 1,000 trials, side by side.

    python -m bench.next_trial [--large 1000000] [--small 1000] [--claims 200] [--only within]

Uses DATABASE_URL for a scratch database (`test_<name>`), made anew and removed afterwards; meant for PostgreSQL. In
both studies k = 3 people answer a trial and half of the trials are given away already. The same number of people
claims in both, in turns, each a first trial at a place of their own in the random order. Prints the median of each
and their ratio, by design; exits with 1 where a ratio is above 2.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

BUDGET = 2.0
K = 3


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--large", type=int, default=1_000_000)
    arguments.add_argument("--small", type=int, default=1_000)
    arguments.add_argument("--claims", type=int, default=200)
    arguments.add_argument("--only", default="", help="designs whose name holds this")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="harmony-next-trial-") as folder:
        os.environ |= {"DJANGO_SETTINGS_MODULE": "harmony.settings", "HARMONY_VAR": folder, "DEBUG": ""}
        os.environ["STORAGE_URL"] = f"file://{folder}/media"
        os.environ.setdefault("SECRET_KEY", "bench-" + "x" * 50)
        import django

        django.setup()
        from django.db import connection
        from django.test.utils import setup_databases, teardown_databases

        databases = setup_databases(verbosity=0, interactive=False)
        try:
            print(f"{connection.vendor}, median of {given.claims} claims each, in turns")
            print(f"{'design':<28} {given.small:>12} {given.large:>12}  ratio")
            ratios = [_design(name, make, given) for name, make in _designs().items() if given.only in name]
        finally:
            teardown_databases(databases, verbosity=0)
    return 0 if max(ratios) <= BUDGET else 1


def _design(name: str, make: Callable[[], Any], given: argparse.Namespace) -> float:
    studies = []
    for trials in (given.small, given.large):
        made = make()
        _grow(made, trials)
        studies.append(made)
    times: list[list[float]] = [[], []]
    claims = [_claims(made) for made in studies]
    for _ in range(given.claims + 5):
        for kept, claim in zip(times, claims, strict=True):
            kept.append(next(claim))
    small, large = (1000 * statistics.median(kept[5:]) for kept in times)  # the first ones warm the caches
    print(f"{name:<28} {small:>9.2f} ms {large:>9.2f} ms  {large / small:.2f}", flush=True)
    for made in studies:
        _forget(made)
    return large / small


def _designs() -> dict[str, Callable[[], Any]]:
    from tests.bots.world import study

    values: dict[str, Any] = {"images": 2, "answers_per_trial": K, "consent": False, "introduction": False}
    return {
        "k answers a trial": lambda: study("map_drawing", **values),
        "within people": lambda: study("preference", conditions=3, image_once=False, **values),
        "within, each image once": lambda: study("preference", conditions=3, image_once=True, **values),
        "between people": lambda: study("team", conditions=3, **values),
    }


def _grow(made: Any, trials: int) -> None:
    """Main trials until there are so many, dealt out to the conditions; every second one is given away."""
    from django.db import connection

    from annotation.models import Trial
    from annotation.models.studies import RANDOM_KEY_BITS

    templates = list(made.trials.order_by("arm", "pk").distinct())
    arms = {template.arm_id: template for template in templates}
    missing = trials - len(templates)
    step = 2**RANDOM_KEY_BITS // (missing + 1)
    chosen = list(arms.values())

    def rows() -> Iterator[Any]:
        for number in range(missing):
            template = chosen[number % len(chosen)]
            yield Trial(
                study=made, image_id=template.image_id, arm_id=template.arm_id, context=template.context,
                random_key=(number + 1) * step, claims_left=K if (number // len(chosen)) % 2 else 0,
            )  # fmt: skip

    batch: list[Any] = []
    for row in rows():
        batch.append(row)
        if len(batch) == 10_000:
            Trial.objects.bulk_create(batch)
            batch = []
    Trial.objects.bulk_create(batch)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE annotation_trial" if connection.vendor == "postgresql" else "ANALYZE")


def _claims(made: Any) -> Iterator[float]:
    """Seconds that each person's first claim takes."""
    from annotation.assignment import claim_next
    from annotation.entry import enter_guest

    while True:
        person = enter_guest(made)
        started = time.perf_counter()
        claimed = claim_next(person)
        elapsed = time.perf_counter() - started
        assert claimed is not None
        yield elapsed


def _forget(made: Any) -> None:
    from annotation.models import Assignment, Trial

    Assignment.objects.filter(trial__study=made).delete()
    Trial.objects.filter(study=made, stimuli=None)._raw_delete("default")


if __name__ == "__main__":
    sys.exit(main())
