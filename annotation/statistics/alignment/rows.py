"""The answers of a preference study as arrays: who said what about which image, in which cell.

A cell is metric × classifier × method: one arm of the study. The first map of a pair is the original classifier's, the
second that of the copy tuned for the metric.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from annotation.models import Study

ORIGINAL, NEITHER, TUNED = -1, 0, 1
UNKNOWN = -1
_SPARSE = 16  # possible pairs an answer, above which sorting is the cheaper way to number them


@dataclass(frozen=True)
class Rows:
    """One entry an answer, all arrays of shape (n,).

    rater, image, cell: indices into `raters`, `images` and `cells`. choice: −1 original, 0 neither, 1 tuned. left:
    which map stood on the left, 0 the original's, 1 the tuned one's, −1 unknown. milliseconds: visible time, −1
    unknown. kinds: of each of `raters`, human, simulated or imported.
    """

    rater: np.ndarray
    image: np.ndarray
    cell: np.ndarray
    choice: np.ndarray
    left: np.ndarray
    milliseconds: np.ndarray
    raters: tuple[str, ...]
    kinds: tuple[str, ...]
    images: tuple[str, ...]
    cells: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.choice)

    def where(self, kept: np.ndarray) -> Rows:
        """The entries that a mask (n,) or an array of places keeps; names and indices stay."""
        return replace(
            self, rater=self.rater[kept], image=self.image[kept], cell=self.cell[kept], choice=self.choice[kept],
            left=self.left[kept], milliseconds=self.milliseconds[kept],
        )  # fmt: skip

    def of_cell(self, name: str) -> Rows:
        """The answers of one cell. ValueError of a name that is none."""
        return self.where(self.cell == self.cells.index(name))

    def without(self, raters: Iterable[str]) -> Rows:
        """The answers of everyone else."""
        left_out = set(raters)
        places = [place for place, name in enumerate(self.raters) if name in left_out]
        return self.where(~np.isin(self.rater, places))

    @property
    def items(self) -> np.ndarray:
        """(n,) the pair of maps that was judged: an image in a cell, numbered from 0 without gaps."""
        pairs = self.cell.astype(np.int64) * max(len(self.images), 1) + self.image
        possible = len(self.cells) * len(self.images)
        if possible > _SPARSE * len(pairs):
            return np.unique(pairs, return_inverse=True)[1].reshape(-1)
        # The same without sorting.
        there = np.zeros(possible, dtype=bool)
        there[pairs] = True
        return (np.cumsum(there) - 1)[pairs]


def by_choice(groups: np.ndarray, choice: np.ndarray, number: int) -> np.ndarray:
    """(number, 3) how often each group (n,) said original, neither and tuned."""
    places = groups.astype(np.int64) * 3 + choice + 1
    return np.bincount(places, minlength=3 * number).reshape(number, 3)


def rows_of(
    answers: Iterable[Sequence[Any]], cells: Sequence[str] = (), kinds: Mapping[str, str] | None = None
) -> Rows:
    """Rows of (rater, image, cell, choice) or (…, left, milliseconds), names as text. `cells`: their order, where it
    is not that of the alphabet; `kinds`: a rater's kind, where it is not human."""
    said = [(*one, UNKNOWN, UNKNOWN)[:6] if len(one) < 6 else tuple(one) for one in answers]
    raters, images = (tuple(sorted({str(one[place]) for one in said})) for place in (0, 1))
    names = tuple(cells) or tuple(sorted({str(one[2]) for one in said}))
    places = [{name: place for place, name in enumerate(known)} for known in (raters, images, names)]
    rater, image, cell = (
        np.array([places[column][str(one[column])] for one in said], dtype=np.int32) for column in range(3)
    )
    return Rows(
        rater,
        image,
        cell,
        choice=np.array([one[3] for one in said], dtype=np.int8),
        left=np.array([one[4] for one in said], dtype=np.int8),
        milliseconds=np.array([one[5] for one in said], dtype=np.int32),
        raters=raters,
        kinds=tuple((kinds or {}).get(name, "human") for name in raters),
        images=images,
        cells=names,
    )


def read(study: Study, kinds: Sequence[str]) -> tuple[Rows, dict[str, tuple[str, str]]]:
    """The answers of a preference study that count, of people of these kinds, in the order in which they came, and for
    each cell, in the order of the arms, the conditions of its first and second map.

    A cell's name is its arm's, empty where all stand together; a point on the scale counts by its sign. Four queries;
    about 20 bytes an answer.
    """
    from annotation.models import Judgement, Participant
    from annotation.statistics import table
    from annotation.statistics.preference import pairs_of
    from mlcore.models import Image

    conditions = pairs_of(study)
    cells = {name: place for place, name in enumerate(conditions)}
    people: dict[int, int] = {}
    images: dict[int, int] = {}
    rater, image, cell, milliseconds = (array("i") for _ in range(4))
    choice, left = array("b"), array("b")
    said = Judgement.objects.filter(
        answer__in=table.counted([study], kinds), question__in=("chosen", "neither", "preference")
    ).values_list(
        "answer__assignment__participant", "answer__assignment__trial__image", "answer__assignment__trial__arm__name",
        "answer__assignment__order", "answer__duration_ms", "stimulus__slot", "number",
    )  # fmt: skip
    for person, picture, arm, order, time, slot, point in said.order_by("pk").iterator(chunk_size=5000):
        rater.append(people.setdefault(person, len(people)))
        image.append(images.setdefault(picture, len(images)))
        cell.append(cells[arm or ""])
        if point is not None:
            choice.append((point > 0) - (point < 0))
        else:
            choice.append(NEITHER if slot is None else TUNED if slot else ORIGINAL)
        left.append(order[0] if order else UNKNOWN)
        milliseconds.append(UNKNOWN if time is None else min(time, 2**31 - 1))
    pseudonyms = {
        pk: (name, kind)
        for pk, name, kind in Participant.objects.filter(study=study).values_list("pk", "pseudonym", "kind")
    }
    names = dict(Image.objects.filter(trials__study=study).distinct().order_by().values_list("pk", "name"))
    rows = Rows(
        rater=np.asarray(rater, dtype=np.int32),
        image=np.asarray(image, dtype=np.int32),
        cell=np.asarray(cell, dtype=np.int32),
        choice=np.asarray(choice, dtype=np.int8),
        left=np.asarray(left, dtype=np.int8),
        milliseconds=np.asarray(milliseconds, dtype=np.int32),
        raters=tuple(pseudonyms[pk][0] for pk in people),
        kinds=tuple(pseudonyms[pk][1] for pk in people),
        images=tuple(names[pk] for pk in images),
        cells=tuple(conditions),
    )
    return rows, conditions
