"""Sets of maps as an explain run leaves them, without the run; and people's drawings."""

import io
import uuid

import numpy as np
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image as Picture

from mlcore.exchange.human_maps import save_human_maps
from mlcore.models import Classifier, Explanation, ExplanationSet, HumanMapSet, Image
from tests.mlcore.runs.world import SIZE, World

TRANSFORM = {"image_size": SIZE, "resize": "none", "normalise": "imagenet"}


def add_maps(
    classifier: Classifier, images: list[Image], method: str = "grad_cam", payload: str = "map", **fields
) -> ExplanationSet:
    """One random 4 × 4 map an image, of its label."""
    made = ExplanationSet.objects.create(
        classifier=classifier, image_set=images[0].image_set, method=method, hash=uuid.uuid4().hex,
        code_version="tests", target="true", transform=TRANSFORM, **fields,
    )  # fmt: skip
    stream = io.BytesIO()
    maps = np.random.default_rng(len(method)).random((len(images), 4, 4), dtype=np.float32)
    np.savez_compressed(stream, maps=maps)
    shard = default_storage.save(f"explanations/{made.uuid}/0.npz", ContentFile(stream.getvalue()))
    there = {"shard": shard, "height": 4, "width": 4} if payload == "map" else {}
    Explanation.objects.bulk_create(
        Explanation(set=made, image=image, payload=payload, index=index, target=image.labels.get().index, **there)
        for index, image in enumerate(images)
    )
    return made


def palette(columns: slice) -> bytes:
    """A drawing: these columns important, the rest not, the lowest rows unknown."""
    values = np.full((SIZE, SIZE), 2, dtype=np.uint8)
    values[:, columns] = 1
    values[28:] = 0
    picture = Picture.frombytes("P", (SIZE, SIZE), values.tobytes())
    picture.putpalette([0, 0, 0, 255, 255, 255, 0, 0, 0])
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def add_drawings(world: World, images: list[Image], **fields) -> HumanMapSet:
    """Two people drew on each image, the second one more."""
    drawn = [
        (image, rater, palette(slice(4 + place, 12 + place + 6 * rater)))
        for place, image in enumerate(images)
        for rater in (1, 2)
    ]
    return save_human_maps(world.image_set, drawn, name="drawn", participants={"human": 2}, **fields)
