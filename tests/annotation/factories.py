"""Rows with real, small files: images, masks and maps that the application itself could have made."""

import hashlib
import io
import uuid
from collections.abc import Sequence
from typing import Any

import factory
import numpy as np
import safetensors.numpy
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from factory.django import DjangoModelFactory
from PIL import Image as Pillow

from annotation import people
from annotation.flow import enter
from annotation.models import Assignment, Participant, Study
from annotation.publishing import create_study, publish
from annotation.studies.trials import Group
from mlcore.exchange.correspondences import add_correspondences
from mlcore.models import (
    Classifier,
    Explanation,
    ExplanationSet,
    Image,
    ImageLabel,
    ImageSet,
    Mask,
    Prediction,
)

WIDTH, HEIGHT = 12, 8
CLASSES = ["Admiral", "Monarch", "Zebra"]


class UserFactory(DjangoModelFactory):
    class Meta:
        model = get_user_model()
        skip_postgeneration_save = True

    username = factory.Sequence(lambda number: f"person-{number}")
    password = "!"  # hashing a real one takes a second; log in with client.force_login


def annotator(**values: Any) -> Any:
    return people.add_annotator(UserFactory(**values).username)


def researcher(**values: Any) -> Any:
    return people.add_researcher(UserFactory(**values).username)


def png(pixels: np.ndarray, mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(pixels, mode).save(stream, format="PNG")
    return stream.getvalue()


def drawing(columns: int = 6, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """What the editor sends: white where painted (here the first `columns`), transparent elsewhere."""
    pixels = np.zeros((height, width, 4), dtype=np.uint8)
    pixels[:, :columns] = 255
    return png(pixels)


class ImageSetFactory(DjangoModelFactory):
    class Meta:
        model = ImageSet

    name = factory.Sequence(lambda number: f"butterflies {number}")
    classes = factory.LazyFunction(lambda: list(CLASSES))


class ImageFactory(DjangoModelFactory):
    """A PNG of 12 × 8 pixels on a disk; `label` unset means that nobody said what it shows."""

    class Meta:
        model = Image
        skip_postgeneration_save = True

    class Params:
        number = factory.Sequence(int)

    image_set = factory.SubFactory(ImageSetFactory)
    name = factory.LazyAttribute(lambda image: f"Monarch/{image.number:04}.png")
    width = WIDTH
    height = HEIGHT
    file = factory.LazyAttribute(
        lambda image: ContentFile(
            png(np.random.default_rng(image.number).integers(0, 256, (image.height, image.width, 3), dtype=np.uint8)),
            name="picture.png",
        )
    )

    @factory.lazy_attribute
    def sha256(self) -> str:
        data = self.file.read()
        self.file.seek(0)
        return hashlib.sha256(data).hexdigest()

    @factory.post_generation
    def label(self, create: bool, index: int | None, **_: Any) -> None:
        if create and index is not None:
            ImageLabel.objects.create(image=self, index=index)


class MaskFactory(DjangoModelFactory):
    """The object fills the left half."""

    class Meta:
        model = Mask

    image = factory.SubFactory(ImageFactory)

    @factory.lazy_attribute
    def file(self) -> ContentFile:
        pixels = np.zeros((self.image.height, self.image.width), dtype=np.uint8)
        pixels[:, : self.image.width // 2] = 255
        return ContentFile(png(pixels), name="mask.png")

    @factory.lazy_attribute
    def sha256(self) -> str:
        data = self.file.read()
        self.file.seek(0)
        return hashlib.sha256(data).hexdigest()


class ClassifierFactory(DjangoModelFactory):
    class Meta:
        model = Classifier

    name = factory.Sequence(lambda number: f"squeezenet {number}")
    architecture = "squeezenet1_1"
    classes = factory.LazyFunction(lambda: list(CLASSES))
    # One small tensor: enough for whoever asks whether there are weights, not a classifier that runs.
    weights = factory.LazyFunction(
        lambda: ContentFile(safetensors.numpy.save({"bias": np.zeros(3, dtype=np.float32)}), name="w.safetensors")
    )


class ExplanationSetFactory(DjangoModelFactory):
    class Meta:
        model = ExplanationSet

    classifier = factory.SubFactory(ClassifierFactory)
    image_set = factory.SubFactory(ImageSetFactory)
    method = "grad_cam"
    layer = "features"
    code_version = "1"
    hash = factory.LazyFunction(lambda: uuid.uuid4().hex)


def explain(
    images: Sequence[Image], *, maps: np.ndarray | None = None, target: int = 1, predict: bool = True, **values: Any
) -> ExplanationSet:
    """A set of maps of these images (h×w 4 × 6, bright on the left), with predictions of class `target`."""
    made = ExplanationSetFactory(image_set=images[0].image_set, **values)
    if maps is None:
        maps = np.zeros((len(images), 4, 6), dtype=np.float32)
        maps[:, :, :3] = 1.0
    stream = io.BytesIO()
    np.savez(stream, maps=maps.astype(np.float32))
    shard = default_storage.save(f"explanations/{made.uuid}/00000.npz", ContentFile(stream.getvalue()))
    Explanation.objects.bulk_create(
        Explanation(
            set=made, image=image, shard=shard, index=index, height=maps.shape[1], width=maps.shape[2],
            maximum=float(maps[index].max()), target=target,
        )
        for index, image in enumerate(images)
    )  # fmt: skip
    if predict:
        Prediction.objects.bulk_create(
            Prediction(classifier=made.classifier, image=image, label=target, confidence=0.9) for image in images
        )
    return made


def images(number: int = 3, *, label: int | None = 1, **values: Any) -> list[Image]:
    values.setdefault("image_set", ImageSetFactory())
    return [ImageFactory(label=label, **values) for _ in range(number)]


def ratings(number: int = 3, *, sets: int = 1, k: int | None = 1, live: bool = True, **values: Any) -> Study:
    """A reasonability study of `number` fresh images (or `images=`) with `sets` maps each."""
    shown = values.pop("images", None) or images(number)
    explanation_sets = values.pop("explanation_sets", None) or [explain(shown) for _ in range(sets)]
    return _study("reasonability", shown, explanation_sets, k, live, values)


def drawings(number: int = 3, *, k: int | None = 1, live: bool = True, **values: Any) -> Study:
    """A map-drawing study of `number` fresh images (or `images=`)."""
    shown = values.pop("images", None) or images(number)
    return _study("map_drawing", shown, values.pop("explanation_sets", []), k, live, values)


def preferences(number: int = 3, *, k: int | None = 1, live: bool = True, **values: Any) -> Study:
    """A preference study of `number` fresh images (or `images=`): one pair of maps, or `groups=`."""
    shown = values.pop("images", None) or images(number)
    sets = values.pop("explanation_sets", None)
    if sets is None:
        sets = [] if "groups" in values else [explain(shown), explain(shown)]
    return _study("preference", shown, sets, k, live, values)


def compare(images: Sequence[Image], *, payload: str = "neighbours", target: int = 1, **values: Any) -> ExplanationSet:
    """A set in which each image's neighbours are the two that follow it; `matches` have two patches each."""
    values.setdefault("classifier", None)
    classifier = values.pop("classifier") or ClassifierFactory()
    patches = [
        {"query": [0, 0, 0.5, 0.5], "neighbour": [0.5, 0.5, 1, 1], "score": 0.8},
        {"query": [0.5, 0, 1, 0.5], "neighbour": [0, 0.5, 0.5, 1], "score": 0.6},
    ]
    # A picture is no neighbour of itself: a small set gets further ones.
    pool = [*images, *(ImageFactory(label=1, image_set=images[0].image_set) for _ in range(3 - len(images)))]
    rows = []
    for place, image in enumerate(images):
        others = [pool[(place + step) % len(pool)] for step in (1, 2)]
        neighbours = [{"image": other, "score": 0.9 - number / 10} for number, other in enumerate(others)]
        if payload == "matches":
            neighbours = [item | {"patches": patches} for item in neighbours]
        rows.append({"image": image, "predicted": target, "confidence": 0.72, "neighbours": neighbours})
    return add_correspondences(
        classifier, images[0].image_set, rows, owner=None, method=values.pop("method", "knn"), payload=payload, **values
    )


def team(number: int = 3, *, k: int | None = 1, live: bool = True, **values: Any) -> Study:
    """A team study of `number` fresh images (or `images=`) with neighbours and without, or with `groups=`."""
    shown = values.pop("images", None) or images(number)
    if "groups" not in values:
        values["groups"] = [Group("none"), Group("neighbours", (compare(shown),))]
    return _study("team", shown, [], k, live, values)


def _study(kind: str, shown: list, sets: list, k: int | None, live: bool, values: dict) -> Study:
    owner = values.pop("owner", None) or researcher()
    values.setdefault("name", f"{kind} of {len(shown)}")
    study = create_study(
        kind=kind, owner=owner, image_set=shown[0].image_set, images=shown, explanation_sets=sets,
        answers_per_trial=k, **values,
    )  # fmt: skip
    if live:
        publish(study, owner)
    return study


def participant(study: Study, **values: Any) -> Participant:
    person = enter(annotator(), study)
    for name, value in values.items():
        setattr(person, name, value)
    if values:
        person.save()
    return person


def rating(
    assignment: Assignment | int = 1, *, necessary: bool = True, unnecessary: bool = False, quality: int = 4
) -> dict[str, Any]:
    """A payload that says the same of every map of the assignment (or of so many maps)."""
    number = assignment if isinstance(assignment, int) else len(assignment.order)
    return {
        "maps": [
            {"position": position, "necessary": necessary, "unnecessary": unnecessary, "quality": quality}
            for position in range(number)
        ]
    }
