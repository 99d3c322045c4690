"""An image set, or a folder of images, written as tar shards: the picture as it is stored, label and class."""

import json
from collections.abc import Iterable, Iterator
from glob import escape
from pathlib import Path

from django.db.models import QuerySet

from mlcore.models import Image, ImageLabel, ImageSet, Partition
from mlcore.models.images import LABEL_SOURCE
from mlcore.tars.index import PICTURES, beside
from mlcore.tars.names import ShardsRefused
from mlcore.tars.writing import Written, write

CHUNK = 500


class NothingToWrite(Exception):
    """There is no image to write, or one cannot be; the message is the sentence."""


def write_image_set(
    image_set: ImageSet, folder: Path, *, partition: Partition | None = None, part: str = "", size: int = 10_000
) -> Written:
    """The set's images, or those of a part of a partition, in the order of their rows.

    Kinds of a sample: the picture's own suffix, cls (index of the class), json (file, sha256, label, class). The key
    is the image's UUID. Raises NothingToWrite, FileExistsError, OSError.
    """
    images = Image.objects.filter(image_set=image_set)
    if part:
        images = images.filter(memberships__partition=partition, memberships__part=part)
    if not images.exists():
        raise NothingToWrite(f"“{image_set}” holds no images{f' in the part {part}' if part else ''}.")
    return _whole(_samples(images.order_by("pk"), list(image_set.classes)), folder, part or "images", size)


def _whole(samples: Iterable[tuple[str, dict[str, bytes]]], folder: Path, name: str, size: int) -> Written:
    """As `write`; where that breaks off, the shards it had finished go too: some in a folder look like all of them."""
    pattern = f"{escape(name)}-*.tar"
    there = set(folder.glob(pattern))
    try:
        return write(samples, folder, name=name, size=size)
    except BaseException as error:
        for shard in set(folder.glob(pattern)) - there:
            shard.unlink(missing_ok=True)
            beside(shard).unlink(missing_ok=True)
        if isinstance(error, ShardsRefused):
            raise NothingToWrite(str(error)) from error
        raise


def _samples(images: QuerySet[Image], classes: list[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    for image in images.iterator(CHUNK):
        said = ImageLabel.objects.filter(image=image, source=LABEL_SOURCE).order_by("index")
        labels = list(said.values_list("index", flat=True))
        told: dict[str, object] = {"file": image.name, "sha256": image.sha256}
        files: dict[str, bytes] = {}
        if len(labels) == 1:
            told |= {"label": labels[0], "class": classes[labels[0]]}
            files["cls"] = str(labels[0]).encode()
        elif labels:
            told["labels"] = labels
        try:
            with image.file.open("rb") as stream:
                picture = {Path(str(image.file.name)).suffix.lstrip(".").lower(): stream.read()}
        except OSError as error:
            raise NothingToWrite(f"The file of {image.name} cannot be read ({error.strerror or error}).") from error
        yield str(image.uuid), picture | files | {"json": json.dumps(told, ensure_ascii=False).encode()}


def write_folder(source: Path, folder: Path, *, size: int = 10_000) -> Written:
    """A folder with one folder of pictures a class: files by name, class by class; .cls is the class's index by name.

    The key is "class/file", dots replaced. Raises NothingToWrite naming what is no folder of classes, or two files of
    one key; FileExistsError, OSError.
    """
    if not source.is_dir():
        raise NothingToWrite(f"There is no folder {source.name}.")
    classes = sorted(entry.name for entry in source.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise NothingToWrite(f"{source.name} has no folder for each class.")
    return _whole(_folder_samples(source, classes), folder, source.name.replace(".", "_"), size)


def _folder_samples(source: Path, classes: list[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    found = 0
    for number, name in enumerate(classes):
        keys: dict[str, str] = {}
        for path in sorted((source / name).iterdir()):
            kind = path.suffix.lstrip(".").lower()
            if kind not in PICTURES or path.name.startswith("."):
                continue
            found += 1
            told = {"file": f"{name}/{path.name}", "label": number, "class": name}
            key = f"{name}/{path.stem}".replace(".", "_")
            if key in keys:
                raise NothingToWrite(f"{keys[key]} and {told['file']} would be one sample, {key}: rename one of them.")
            keys[key] = f"{name}/{path.name}"
            yield key, {kind: path.read_bytes(), "cls": str(number).encode(), "json": json.dumps(told).encode()}
    if not found:
        raise NothingToWrite(f"The folders of {source.name} hold no pictures.")
