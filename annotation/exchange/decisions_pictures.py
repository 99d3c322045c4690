"""Pictures for imported decisions, from an image set that is here already: found by name, shown from the same file."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from annotation.exchange.imported import image_without_picture
from mlcore.models import Image, ImageSet

_FIELDS = ("name", "file", "sha256", "width", "height")
Picture = tuple[str, str, int, int]  # file, SHA-256, width, height


class Pictures:
    """Image rows of a study's own set. The pictures' file is shared with their set: it is never rewritten.

    A name fits where it is the same as a picture's path, its last part, or that without the ending; where several
    pictures of the set would fit, none does.
    """

    def __init__(self, image_set: ImageSet, source: ImageSet | None) -> None:
        self.image_set = image_set
        self.taken = set(image_set.images.values_list("sha256", flat=True))
        self.found = 0
        self.by_name: dict[str, dict[str, Picture | None]] = defaultdict(dict)
        rows = Image.objects.filter(image_set=source).exclude(file="") if source is not None else Image.objects.none()
        for name, *rest in rows.order_by("pk").values_list(*_FIELDS).iterator(chunk_size=5000):
            picture: Picture = tuple(rest)
            for form, spelling in _spellings(name):
                known = self.by_name[form]
                known[spelling] = None if spelling in known else picture

    def rows(self, names: Iterable[str]) -> list[Image]:
        """An image for each name, not saved yet, with its picture where the set has one."""
        return [self._row(name) for name in names]

    def _row(self, name: str) -> Image:
        picture = self._picture(name)
        if picture is None or picture[1] in self.taken:  # an image is kept once a set
            row = image_without_picture(self.image_set, name)
        else:
            self.found += 1
            file, sha256, width, height = picture
            row = Image(
                uuid=uuid.uuid5(self.image_set.uuid, name), image_set=self.image_set, name=name, file=file,
                sha256=sha256, width=width, height=height,
            )  # fmt: skip
        self.taken.add(row.sha256)
        return row

    def _picture(self, name: str) -> Picture | None:
        for form, spelling in _spellings(name):
            if spelling in self.by_name[form]:
                return self.by_name[form][spelling]
        return None


def _spellings(name: str) -> list[tuple[str, str]]:
    """The ways in which a name may be found, the strictest first."""
    path = PurePosixPath(name.replace("\\", "/"))
    return [("path", str(path)), ("file", path.name.lower()), ("stem", path.stem.lower())]
