"""What a classification by comparison leaves behind while it runs. Every write holds the run's row."""

from typing import Any

from mlcore.catalogue.matchers import MATCHERS
from mlcore.models import Explanation, FeatureGallery, Image, Run
from mlcore.runs.objects import CHUNK

KEPT = ("neighbours", "confidence", "first", "converged", "compared")


def write_matches(run: Run, explained: str, rows: list[dict[str, Any]]) -> None:
    """What one way of comparing said of some images. Call inside `held`.

    Rows that are there stay: another run of the same set was faster, and said the same.
    """
    found = run.explanation_sets.filter(uuid=explained).first()
    if found is None:  # deleted while it was filled
        return
    payload = MATCHERS[found.method].payload if found.method in MATCHERS else Explanation.Payload.NEIGHBOURS
    images: dict[str, int] = {}
    wanted = [row["image"] for row in rows]
    for start in range(0, len(wanted), CHUNK):
        pairs = Image.objects.filter(uuid__in=wanted[start : start + CHUNK]).values_list("uuid", "pk")
        images.update((str(uuid), pk) for uuid, pk in pairs)
    Explanation.objects.bulk_create(
        (
            Explanation(
                set=found,
                image_id=images[row["image"]],
                payload=payload,
                target=row["target"],
                data={key: row[key] for key in KEPT if row.get(key) is not None},
            )
            for row in rows
            if row["image"] in images and row["target"] >= 0
        ),
        ignore_conflicts=True,
        batch_size=100,
    )


def write_gallery(run: Run, event: dict[str, Any]) -> None:
    """How large the features of a set are. Call inside `held`."""
    channels, height, width = event["shape"]
    row = FeatureGallery.objects.filter(key=event["key"]).first()
    if row is not None:  # otherwise its images or its classifier were deleted
        row.channels, row.height, row.width = channels, height, width
        row.images, row.bytes = event["images"], event["bytes"]
        row.save(update_fields=["channels", "height", "width", "images", "bytes", "updated"])
