"""What pictures of a comparison show: a query, what each way of deciding said of it, and the neighbours that say so.

Made of a stored explanation or of the answer to a short question (mlcore.runs.match_boards); pages and files are drawn
from the same board.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image as Pictures

from mlcore.catalogue.matchers import MATCHERS
from mlcore.exchange import render
from mlcore.exchange.match_marks import class_name
from mlcore.models import Explanation, Image


@dataclass(frozen=True)
class Seen:
    """A picture: what it is called, its (width, height), and how it is drawn with a longer side of so many pixels."""

    name: str
    size: tuple[int, int]
    draw: Callable[[int], Pictures.Image]


@dataclass(frozen=True)
class Beside:
    """A neighbour: its place in the explanation, its class in words, how alike it is, and the patches that match."""

    index: int
    seen: Seen
    label: int
    words: str
    score: float
    patches: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Said:
    """What one way of deciding said. right: None where nobody knows what the query shows. votes: how many neighbours
    voted at most; None where nobody wrote it down. key: of the explanation that says so, where there is one."""

    method: str
    label: int | None
    words: str
    confidence: float | None
    neighbours: Sequence[Beside]
    right: bool | None = None
    votes: int | None = None
    key: int | None = None

    @property
    def title(self) -> str:
        spec = MATCHERS.get(self.method)
        return spec.title if spec else self.method.replace("_", " ")

    @property
    def patches(self) -> int:
        """The most patches that a neighbour has; 0: these are neighbours without any."""
        return max((len(one.patches) for one in self.neighbours), default=0)

    @property
    def sentence(self) -> str:
        """“Northern Flicker, 17 of 20 votes (85 %)”."""
        words = self.words or "no class"
        if self.confidence is None:
            return words
        share = f"{100 * self.confidence:.0f} %"
        if self.votes is None:
            return f"{words}, {share}"
        return f"{words}, {round(self.confidence * self.votes)} of {self.votes} votes ({share})"

    @property
    def verdict(self) -> str:
        """“right”, “wrong”, or nothing."""
        return "" if self.right is None else "right" if self.right else "wrong"


@dataclass(frozen=True)
class Board:
    """query, what it shows in words (several where it has several labels, none where nobody said), and what each way
    said of it: the nearest neighbours first."""

    query: Seen
    truth: Sequence[str]
    ways: Sequence[Said] = field(default_factory=tuple)


def listed(explanation: Explanation, most: int | None = None) -> list[dict[str, Any]]:
    """The neighbours as they are stored, nearest first."""
    return list(explanation.data.get("neighbours", []))[:most]


def images_of(uuids: Any) -> dict[str, Image]:
    """The images of these UUIDs with their sets, by UUID."""
    found = Image.objects.filter(uuid__in=set(uuids)).select_related("image_set")
    return {str(image.uuid): image for image in found}


def seen(image: Image) -> Seen:
    """A picture of an image set; one that came without its file is drawn as an empty ground."""
    return Seen(image.name, (image.width, image.height), lambda side: render.enlarged(image, side))


def beside(items: Sequence[Mapping[str, Any]], pictures: Mapping[str, Image]) -> list[Beside]:
    """Neighbours as they are stored, with their pictures; one whose picture is there no more is passed over."""
    return [
        Beside(
            index=index,
            seen=seen(pictures[item["image"]]),
            label=item["label"],
            words=class_name(pictures[item["image"]].image_set.classes, item["label"]),
            score=item["score"],
            patches=item.get("patches", ()),
        )
        for index, item in enumerate(items)
        if item["image"] in pictures
    ]
