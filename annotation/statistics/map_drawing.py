"""Figures of a map-drawing study: how much people paint and how far their maps agree."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from statistics import fmean
from typing import Any

from annotation.drawings import IMPORTANT, read_palette
from annotation.models import DrawnMap, Judgement, Study
from annotation.statistics import table
from annotation.statistics.agreement import mean_pairwise_iou
from annotation.studies.base import Table


def values_of(row: DrawnMap) -> Any:
    """The stored map, (H, W) uint8 of 0 unknown, 1 important, 2 unimportant."""
    with row.file.open("rb") as stream:
        return read_palette(stream.read())


def figures(study: Study, kinds: Sequence[str]) -> dict[str, Any]:
    """All figures of a study, of the people of these kinds, ready for JSON.

    `agreement`: mean over images with two or more maps of the mean IoU between two people's maps.
    """
    shares, per_image, pairs, images = [], [], 0, 0
    by_image = groupby(
        table.drawn([study], kinds).iterator(chunk_size=200), key=lambda row: row.answer.assignment.trial.image_id
    )
    for _, rows in by_image:
        images += 1
        maps = []
        for row in rows:
            shares.append(row.share)
            maps.append(values_of(row) == IMPORTANT)
        mean, number = mean_pairwise_iou(maps)
        if mean is not None:
            per_image.append(mean)
            pairs += number
    answers = table.counted([study], kinds)
    milliseconds = table.median_milliseconds([study], kinds)
    return {
        "kinds": list(kinds),
        "people": table.people([study], kinds),
        "answers": answers.count(),
        "maps": len(shares),
        "nothing": Judgement.objects.filter(answer__in=answers, question="nothing", truth=True).count(),
        "images": images,
        "mean_share": fmean(shares) if shares else None,
        "agreement": {"iou": fmean(per_image) if per_image else None, "images": len(per_image), "pairs": pairs},
        "median_seconds": None if milliseconds is None else milliseconds / 1000,
    }


def tables(found: Mapping[str, Any]) -> list[Table]:
    """The figures as tables."""
    agreement = found["agreement"]
    return [
        Table(
            "Drawn maps",
            ("Figure", "Value"),
            [
                ("Answers", found["answers"]),
                ("Images with a map", found["images"]),
                ("Maps", found["maps"]),
                ("Nothing to mark", found["nothing"]),
                ("Mean share painted", found["mean_share"]),
                ("Mean IoU between two people", agreement["iou"]),
                ("Images drawn by two or more", agreement["images"]),
                ("Median seconds an answer", found["median_seconds"]),
            ],
        )
    ]
