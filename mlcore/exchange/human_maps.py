"""People's maps into the storage, as they were drawn: a set of them is written once and never changed."""

import io
import uuid
from collections.abc import Iterable
from typing import Any

from django.core.files.base import ContentFile
from django.db import transaction
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from mlcore.models import AuditEntry, HumanMap, HumanMapSet, Image, ImageSet


class HumanMapsRefused(ValueError):
    """The maps cannot be taken; the message is a sentence."""


@transaction.atomic
def save_human_maps(
    image_set: ImageSet,
    maps: Iterable[tuple[Image, int, bytes]],
    *,
    name: str,
    owner: Any = None,
    source: uuid.UUID | None = None,
    participants: dict[str, int] | None = None,
    spec: dict[str, Any] | None = None,
) -> HumanMapSet:
    """A set from (image, rater's number, palette PNG of {unknown 0, important 1, unimportant 2}).

    A second map of one person and image takes the first one's place. Rows are written in the order of images and
    numbers, so that their order says nothing of when or by whom a map was drawn.
    Raises HumanMapsRefused where there is none, or where one is not of its image's size.
    """
    given = {(image.pk, rater): (image, data) for image, rater, data in maps}
    if not given:
        raise HumanMapsRefused("There is no drawn map to take.")
    made = HumanMapSet.objects.create(
        image_set=image_set,
        name=name.strip()[:160] or "People's maps",
        source=source,
        participants=participants or {},
        spec=spec or {},
        owner=owner if getattr(owner, "pk", None) else None,
    )
    rows = []
    for (_, rater), (image, data) in sorted(given.items(), key=lambda entry: entry[0]):
        if image.image_set_id != image_set.pk:
            raise HumanMapsRefused(f"The image {image.name} belongs to another image set than “{image_set}”.")
        _check(image, data)
        row = HumanMap(set=made, image=image, rater=rater)
        row.map.save("map.png", ContentFile(data), save=False)
        rows.append(row)
    HumanMap.objects.bulk_create(rows, batch_size=500)
    AuditEntry.write(
        owner,
        "human_maps.create",
        made,
        after={"maps": len(rows), "images": len({row.image_id for row in rows}), "people": participants or {}},
    )
    return made


def _check(image: Image, data: bytes) -> None:
    try:
        with Picture.open(io.BytesIO(data), formats=["PNG"]) as picture:
            size, mode = picture.size, picture.mode
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise HumanMapsRefused(f"A map of {image.name} is no PNG.") from error
    if mode != "P":
        raise HumanMapsRefused(f"A map of {image.name} is not a palette picture.")
    if size != (image.width, image.height):
        raise HumanMapsRefused(
            f"A map of {image.name} is {size[0]}×{size[1]}, the image {image.width}×{image.height} pixels."
        )
