"""A tiny real world for runs: decoy scenes at 32 pixels in a database and a storage."""

import hashlib
import io
import uuid
from dataclasses import dataclass

import numpy as np
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image as Picture

from mlcore.exchange.decoy import CLASSES, decoy_scene
from mlcore.models import (
    Box,
    Classifier,
    Image,
    ImageLabel,
    ImageSet,
    Mask,
    Partition,
    PartitionMember,
    Run,
    SupervisionItem,
    SupervisionSet,
)
from mlcore.runs.start import start_run

COUNTS = {"train": 12, "annotation_pool": 4, "validation": 6, "test": 6}
SIZE = 32
# What makes a run of the real code take seconds: small pictures, a small network, few epochs.
TINY = {
    "architecture": "sixconv",
    "image_size": SIZE,
    "resize": "none",
    "epochs": 2,
    "batch_size": 4,
    "learning_rate": 0.01,
    "device": "cpu",
}
# The weights of an uninterrupted run with seed 3: trained once for all tests here (fixture `reference`).
REFERENCE: list[bytes] = []


@dataclass
class World:
    image_set: ImageSet
    partition: Partition

    def part(self, name: str) -> list[Image]:
        return list(Image.objects.filter(memberships__partition=self.partition, memberships__part=name).order_by("pk"))


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Picture.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def make_world(name: str = "scenes", counts: dict[str, int] | None = None, masks: bool = True) -> World:
    image_set = ImageSet.objects.create(name=name, classes=list(CLASSES[:2]))
    partition = Partition.objects.create(image_set=image_set, name="split")
    for part, count in (counts or COUNTS).items():
        for index in range(count):
            scene = decoy_scene(5, part, index, size=SIZE, classes=2)
            content = png(scene.image)
            digest = hashlib.sha256(content).hexdigest()
            image = Image(image_set=image_set, name=f"{part}/{scene.name}", sha256=digest, width=SIZE, height=SIZE)
            # Chance in training is keyed by the image's UUID: the same world trains to the same weights.
            image.uuid = uuid.uuid5(uuid.NAMESPACE_URL, f"{name}/{image.name}")
            image.file.save("scene.png", ContentFile(content), save=True)
            ImageLabel.objects.create(image=image, index=scene.label)
            PartitionMember.objects.create(partition=partition, image=image, part=part)
            if masks:
                content = png(scene.mask.astype(np.uint8) * 255)
                mask = Mask(image=image, sha256=hashlib.sha256(content).hexdigest())
                mask.file.save("mask.png", ContentFile(content), save=True)
    return World(image_set, partition)


def make_supervision(world: World, part: str = "annotation_pool", w_p: float = 0.4, w_a: float = 1.6) -> SupervisionSet:
    """People drew the object on every image of a part: 1 inside, 2 outside."""
    supervision = SupervisionSet.objects.create(image_set=world.image_set, name="what people drew")
    for image in world.part(part):
        truth = np.asarray(Picture.open(image.masks.get().file.path)) > 0
        item = SupervisionItem(supervision=supervision, image=image, w_p=w_p, w_a=w_a)
        item.map.save("map.png", ContentFile(png(np.where(truth, 1, 2).astype(np.uint8))), save=True)
    return supervision


def add_boxes(images: list[Image]) -> None:
    for image in images:
        Box.objects.create(image=image, x0=4, y0=4, x1=20, y1=24)


def make_classifier(world: World, classes: list[str] | None = None, weights: bytes = b"not read") -> Classifier:
    """Without `weights` nobody can read it: for checks that come before any computing."""
    made = Classifier(
        name="earlier",
        architecture="sixconv",
        classes=world.image_set.classes if classes is None else classes,
        sha256="0" * 64,
        transform={"image_size": SIZE, "resize": "none", "normalise": "imagenet"},
    )
    made.weights.save("w.safetensors", ContentFile(weights), save=True)
    return made


def weights_of(run: Run) -> bytes:
    with default_storage.open(run.made_classifier.weights.name) as stream:
        return stream.read()


def weights_hash(run: Run) -> str:
    """SHA-256 of the stored file itself, not of what the row says."""
    return hashlib.sha256(weights_of(run)).hexdigest()


def start(world: World, kind: str = "train", **changes) -> Run:
    wish = {
        "kind": kind,
        "name": "a run",
        "owner": None,
        "image_set": world.image_set,
        "partition": world.partition,
        "recipe": dict(TINY) if kind == "train" else {},
        "enqueue": False,
    }
    recipe = wish["recipe"] | changes.pop("recipe", {})
    return start_run(**wish | changes | {"recipe": recipe})
