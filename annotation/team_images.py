"""Which images a team study shows: as many that its AI gets right as wrong, and of both as many easy as hard ones.

Difficulty is the AI's own confidence, in thirds: the images that it gets right are ranked by how sure it is, and so,
by themselves, are those that it gets wrong; each ranking is cut into three parts of one size, equals in a random order
that the seed fixes. Six cells of one size make a balanced set.

Conditions with different AIs have cells of their own. Images that fit the cells of every condition are taken first,
so that as much as can be is compared on the same images; what is then missing each condition fills with its own.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from random import Random

from annotation.studies.base import Table
from annotation.team_ai import Said

THIRDS = 3
CELLS = 2 * THIRDS
PARTS = ("practice", "qualification", "main")
TITLES = tuple(
    f"AI {side}, {third}" for side in ("right", "wrong") for third in ("most sure", "in between", "least sure")
)


def cells_of(said: Mapping[int, Said], seed: int = 0) -> dict[int, int]:
    """Image → its cell: 0 to 2 where the AI is right, from most to least sure, 3 to 5 where it is wrong.

    Images without a confidence are in none.
    """
    found = {}
    for right in (True, False):
        ranked = [image for image, one in said.items() if one.right is right and one.confidence is not None]
        drawn = {image: Random(f"{seed}/{image}").random() for image in ranked}
        ranked.sort(key=lambda image: (-(said[image].confidence or 0.0), drawn[image]))
        for place, image in enumerate(ranked):
            found[image] = THIRDS * (not right) + place * THIRDS // len(ranked)
    return found


def wanted(number: int) -> list[int]:
    """How many of each cell a balanced set of so many has; what does not go up falls to the right and the sure."""
    sides = (number - number // 2, number // 2)
    return [side // THIRDS + (third < side % THIRDS) for side in sides for third in range(THIRDS)]


def most_balanced(cells: Iterable[Mapping[int, int]], without: Set[int] = frozenset()) -> int:
    """The greatest number of images under which every cell of every condition can be filled."""
    counts = [Counter(cell for image, cell in one.items() if image not in without) for one in cells]
    return CELLS * min((one[cell] for one in counts for cell in range(CELLS)), default=0)


def choose(
    cells: Sequence[Mapping[int, int]], number: int, seed: int = 0, without: Set[int] = frozenset()
) -> list[list[int]]:
    """For each condition `number` images, balanced over its own cells as far as they go, the same ones where possible.

    cells: of each condition, image → cell. without: images that are taken already. In each condition's list the images
    that all have in common stand first.
    """
    rooms = [wanted(number) for _ in cells]
    chosen: list[list[int]] = [[] for _ in cells]
    for image in _common(cells, rooms, seed, without):
        for mine in chosen:
            mine.append(image)
    often = Counter(image for mine in chosen for image in mine)
    for mine, own, room in zip(chosen, cells, rooms, strict=True):
        taken = set(mine)
        free = [image for image in own if image not in taken and image not in without]
        # Rather what another condition shows already than one more image.
        free.sort(key=lambda image: (-often[image], _drawn(seed, image)))
        for image in free:
            if room[own[image]]:
                room[own[image]] -= 1
                mine.append(image)
                often[image] += 1
    return chosen


def _common(cells: Sequence[Mapping[int, int]], rooms: list[list[int]], seed: int, without: Set[int]) -> list[int]:
    """Images that fit every condition's room, which is used up; one by one from where there is the most room left."""
    patterns: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for image in sorted(cells[0], key=lambda image: _drawn(seed, image), reverse=True) if cells else ():
        if image not in without and all(image in own for own in cells):
            patterns[tuple(own[image] for own in cells)].append(image)
    found = []
    while open_ones := [
        (min(room[cell] for room, cell in zip(rooms, pattern, strict=True)), -len(images), pattern)
        for pattern, images in patterns.items()
        if images and all(room[cell] > 0 for room, cell in zip(rooms, pattern, strict=True))
    ]:
        # Of equal room the pattern that fewest images have: it is the one that would be missing in the end.
        _, _, pattern = max(open_ones)
        for room, cell in zip(rooms, pattern, strict=True):
            room[cell] -= 1
        found.append(patterns[pattern].pop())
    return found


def _drawn(seed: int, image: int) -> float:
    return Random(f"{seed}/image/{image}").random()


@dataclass(frozen=True)
class CellRow:
    """A line of the table: a cell of one condition, how many images it has, and how many each part takes of those
    that it wants."""

    title: str
    there: int
    taken: Mapping[str, int] = field(hash=False)
    wants: Mapping[str, int] = field(hash=False)

    @property
    def short(self) -> int:
        return sum(self.wants.values()) - sum(self.taken.values())


@dataclass(frozen=True)
class Chosen:
    """The images of each part: for each condition a list. `tables`: for each condition its cells."""

    parts: Mapping[str, list[list[int]]]
    tables: list[list[CellRow]]
    shared: int
    left_out: int = 0
    names: list[str] = field(default_factory=list)

    @property
    def shown(self) -> list[tuple[str, Table]]:
        """A table for each condition, one for those that have the same; with what it is of."""
        by_rows: dict[tuple[CellRow, ...], list[str]] = defaultdict(list)
        for name, table in zip(self.names, self.tables, strict=True):
            by_rows[tuple(table)].append(name)
        found = []
        for rows, names in by_rows.items():
            title = f"Images of {', '.join(f'“{name}”' for name in names)}"
            counts = [[row.there, *(row.taken[part] for part in PARTS), row.short] for row in rows]
            lines = [(row.title, *numbers) for row, numbers in zip(rows, counts, strict=True)]
            sums = [sum(column) for column in zip(*counts, strict=True)]
            columns = ("Kind of image", "There are", "Training", "Validation", "Test", "Too few")
            found.append((title, Table(title, columns, [*lines, ("all", *sums)])))
        return found

    @property
    def short(self) -> list[str]:
        """A sentence for each cell that has too few."""
        found = []
        for name, table in zip(self.names, self.tables, strict=True):
            for row in table:
                if row.short:
                    needed = sum(row.wants.values())
                    found.append(f"{name}: {row.title}: {needed} are wanted, there are {sum(row.taken.values())}.")
        return found


def plan(
    names: Sequence[str],
    said: Sequence[Mapping[int, Said]],
    numbers: Mapping[str, int | None],
    seed: int = 0,
    candidates: int = 0,
) -> Chosen:
    """Practice, qualification and main images of each condition, none in two parts.

    names: of the conditions; said: what the AI of each says of the candidates. numbers: part → images, of the main
    part None: as many as the cells give after the others. candidates: how many images there are in all.
    """
    cells = [cells_of(one, seed) for one in said]
    taken: set[int] = set()
    parts: dict[str, list[list[int]]] = {}
    wants: dict[str, list[int]] = {}
    for part in PARTS:
        number = numbers[part]
        number = most_balanced(cells, taken) if number is None else number
        parts[part] = choose(cells, number, seed, taken)
        wants[part] = wanted(number)
        taken |= {image for mine in parts[part] for image in mine}
    tables = []
    for place, own in enumerate(cells):
        there = Counter(own.values())
        counts = {part: Counter(own[image] for image in parts[part][place]) for part in PARTS}
        tables.append(
            [
                CellRow(
                    TITLES[cell], there[cell], {part: counts[part][cell] for part in PARTS},
                    {part: wants[part][cell] for part in PARTS},
                )
                for cell in range(CELLS)
            ]
        )  # fmt: skip
    main = [set(mine) for mine in parts["main"]]
    known = set().union(*(own.keys() for own in cells)) if cells else set()
    return Chosen(
        parts, tables, len(set.intersection(*main)) if main else 0, max(candidates - len(known), 0), list(names)
    )
