"""A metric's values of both maps of a pair, from score runs that measured both in one way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlcore.catalogue import own_options
from mlcore.catalogue.learnable import LEARNABLE
from mlcore.models import ExplanationSet, Image, Score


@dataclass(frozen=True)
class Values:
    """Image (key) → value, of the original's maps and of the tuned one's; `told` says where they come from."""

    before: Mapping[int, float]
    after: Mapping[int, float]
    told: dict[str, Any]

    def of(self, image: int) -> tuple[float | None, float | None]:
        return self.before.get(image), self.after.get(image)


def plain_metric(metric: str) -> str:
    """The metric of maps whose score the learnable one has."""
    return LEARNABLE[metric].plain or metric


def scores_of(metric: str, original: ExplanationSet, tuned: ExplanationSet, part: str) -> Values | None:
    """The newest values of both sets that the same options (and seed) gave; None where there are none.

    Those of the part come first, then those of all images.
    """
    plain = plain_metric(metric)
    found: list[dict[str, Score]] = []
    for one in (original, tuned):
        scores = Score.objects.filter(explanation_set=one, metric=plain, part__in=(part, "all"))
        rows = scores.select_related("run").defer("run__manifest", "run__log").order_by("created", "pk")
        # Later rows replace earlier ones; the part's own replace those of all images.
        ordered = sorted(rows, key=lambda row: row.part == part)
        found.append({_way(row, plain): row for row in ordered})
    common = [way for way in found[0] if way in found[1]]
    if not common:
        return None
    way = max(common, key=lambda way: (found[0][way].part == part, found[0][way].created, found[0][way].pk))
    both = [found[0][way], found[1][way]]
    keys = dict(Image.objects.filter(image_set=original.image_set_id).values_list("uuid", "pk"))
    before, after = (
        {
            keys[uuid]: float(row.per_image[str(uuid)])
            for uuid in keys
            if isinstance(row.per_image.get(str(uuid)), int | float)
        }
        for row in both
    )
    return Values(before, after, {"metric": plain, "runs": list(dict.fromkeys(str(row.run.uuid) for row in both))})


def _way(score: Score, plain: str) -> str:
    """How it was measured, as one word: the metric's options and the run's seed."""
    return json.dumps([own_options(score.run.recipe, plain), score.run.seed], sort_keys=True, default=str)
