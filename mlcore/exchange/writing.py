"""The rows of a batch of pictures: what is new is added, what is there is found, what is there twice is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from django.db import transaction
from django.db.models import Q

from mlcore.exchange import storage
from mlcore.exchange.plan import Planned
from mlcore.exchange.report import ImportReport, Problem
from mlcore.exchange.verify import BadImage, Verified, open_picture, verify
from mlcore.models import Image, ImageLabel, ImageSet
from mlcore.models.images import image_path

SOURCE = "import"


@dataclass(frozen=True)
class Known:
    """A picture of the set as masks and boxes need it."""

    pk: int
    uuid: str
    width: int
    height: int


class Writer:
    """Writes batches of one import and keeps, by name, what the import has met."""

    def __init__(self, image_set: ImageSet, report: ImportReport) -> None:
        self.image_set = image_set
        self.report = report
        self.images: dict[str, Known] = {}  # new and already there, by name
        self.left_out: set[str] = set()  # bad files and duplicates: named once, not again for mask and box

    def write(self, batch: list[Planned], tick: Callable[[], None]) -> None:
        """Verifies, stores and records one batch in one transaction."""
        sound: list[tuple[Planned, Verified]] = []
        for item in batch:
            try:
                found = verify(item.path)
                storage.put(self._path(found), found.data)
                sound.append((item, replace(found, data=b"")))  # the bytes of a batch need not stay in memory
            except BadImage as error:
                self._leave(item, str(error))
            tick()
        with transaction.atomic():
            # One import of a set at a time decides what is new; others wait for the batch.
            ImageSet.objects.select_for_update().get(pk=self.image_set.pk)
            self._record(sound)

    def _path(self, found: Verified) -> str:
        row = Image(image_set=self.image_set, sha256=found.sha256)
        return image_path(row, f"{found.sha256}.{found.suffix}")

    def _leave(self, item: Planned, sentence: str) -> None:
        self.left_out.add(item.name)
        self.report.problems.append(Problem(sentence, item.name, item.row))

    def _record(self, sound: list[tuple[Planned, Verified]]) -> None:
        hashes = [found.sha256 for _, found in sound]
        names = [item.name for item, _ in sound]
        there = Image.objects.filter(image_set=self.image_set).filter(Q(sha256__in=hashes) | Q(name__in=names))
        by_hash = {image.sha256: image for image in there}
        by_name = {image.name: image for image in there}
        fresh: list[tuple[Planned, Image]] = []
        old: list[tuple[Planned, Image]] = []
        for item, found in sound:
            image, same = by_hash.get(found.sha256), by_name.get(item.name)
            if image is None and same is not None and found.note and _same_pixels(same.file.name, self._path(found)):
                image = same  # written anew by another version of the encoder
            if image is not None and image.name != item.name:
                self._leave(item, f"The same picture as {image.name}; it is kept once.")
            elif image is not None and image.pk is None:
                self._leave(item, "A file of this name, written with other code points, came before; it is kept once.")
            elif image is not None:
                old.append((item, image))
            elif same is not None:
                self._leave(item, "Another picture of this name came before; that one stays.")
            else:
                image = Image(
                    image_set=self.image_set,
                    name=item.name,
                    file=self._path(found),
                    sha256=found.sha256,
                    width=found.width,
                    height=found.height,
                )
                by_hash[found.sha256] = by_name[item.name] = image
                fresh.append((item, image))
                if found.note:
                    self.report.notes.append(Problem(found.note, item.name, item.row))
        Image.objects.bulk_create([image for _, image in fresh])
        self._label(fresh, old)
        for item, image in fresh + old:
            self.images[item.name] = Known(image.pk, str(image.uuid), image.width, image.height)
            if item.part:
                self.report.splits[item.name] = item.part
        self.report.added += len(fresh)
        self.report.already += len(old)

    def _label(self, fresh: list[tuple[Planned, Image]], old: list[tuple[Planned, Image]]) -> None:
        rows = [ImageLabel(image=image, index=index, source=SOURCE) for item, image in fresh for index in item.labels]
        said: dict[int, set[int]] = {}
        pks = [image.pk for _, image in old]
        for pk, index in ImageLabel.objects.filter(image__in=pks, source=SOURCE).values_list("image_id", "index"):
            said.setdefault(pk, set()).add(index)
        for item, image in old:
            before = said.get(image.pk, set())
            if not before:
                rows += [ImageLabel(image=image, index=index, source=SOURCE) for index in item.labels]
            elif not before.issuperset(item.labels):
                names = ", ".join(f"“{self.image_set.classes[index]}”" for index in sorted(before))
                self.report.problems.append(
                    Problem(f"The picture was imported as {names} before; that stays.", item.name, item.row)
                )
        ImageLabel.objects.bulk_create(rows)


def _same_pixels(first: str, second: str) -> bool:
    """Whether two stored pictures, perhaps of different encoders, show the same."""
    one, other = (open_picture(storage.read(path)) for path in (first, second))
    return one.mode == other.mode and one.size == other.size and one.tobytes() == other.tobytes()
