"""Where everything of a comparison's picture stands: a list of shapes, from which SVG and PNG are written alike.

One row a way of deciding. The query stands left; of matched patches each neighbour has its own, so that the query is
repeated above every neighbour, with the patches of this pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image as Pictures
from PIL import ImageFont

from mlcore.exchange.match_board import Beside, Board, Said, Seen
from mlcore.exchange.match_marks import COLOURS

NEIGHBOURS = 5
LEAST_WIDTH, USUAL_WIDTH, MOST_WIDTH = 480, 1200, 4800
INK, QUIET, GROUND = "#1b1f24", "#57606a", "#ffffff"
VERDICTS = {"right": "#1a7f4b", "wrong": "#b42318"}
FULL = 1200  # the width at which sizes below are pixels


@dataclass(frozen=True)
class Picture:
    """A picture drawn with its left upper corner at (x, y), `width` × `height`; text: what a screen reader says."""

    x: float
    y: float
    width: float
    height: float
    draw: Callable[[int], Pictures.Image]
    text: str


@dataclass(frozen=True)
class Box:
    """A patch's frame: a line of `line` with a rim of white (of black around a white one) below it, `number` from 1."""

    x: float
    y: float
    width: float
    height: float
    line: float
    number: int

    @property
    def colour(self) -> str:
        return COLOURS[(self.number - 1) % len(COLOURS)][0]

    @property
    def rim(self) -> str:
        return "#000000" if self.colour == "#ffffff" else "#ffffff"


@dataclass(frozen=True)
class Badge:
    """The patch's number on a disc of its colour."""

    x: float
    y: float
    radius: float
    number: int

    @property
    def colours(self) -> tuple[str, str]:
        return COLOURS[(self.number - 1) % len(COLOURS)]


@dataclass(frozen=True)
class Text:
    """A line that begins at x and whose base line is y."""

    x: float
    y: float
    size: float
    words: str
    colour: str = INK
    bold: bool = False


@dataclass
class Drawing:
    width: int
    height: int = 0
    shapes: list[Picture | Box | Badge | Text] = field(default_factory=list)
    title: str = ""


def lay_out(board: Board, width: int = USUAL_WIDTH, neighbours: int = NEIGHBOURS) -> Drawing:
    """The board as shapes; lengths are pixels of a picture `width` wide. neighbours: columns, at most so many."""
    unit = width / FULL
    columns = 1 + max((min(neighbours, len(way.neighbours)) for way in board.ways), default=0)
    gap, margin = 12 * unit, 24 * unit
    # A query with one neighbour is not blown up to half the width.
    cell = min((width - 2 * margin - gap * (columns - 1)) / columns, 320 * unit)
    page = _Page(Drawing(width, title=_title(board)), unit, cell, gap, margin)
    page.words(margin, 17, board.query.name, bold=True, room=width - 2 * margin)
    if board.truth:
        page.words(margin, 14, f"It shows: {', '.join(board.truth)}", QUIET, room=width - 2 * margin)
    for number, way in enumerate(board.ways):
        page.skip(14)
        page.row(board.query, way, list(way.neighbours)[:neighbours], first=number == 0)
    page.drawing.height = round(page.y + margin)
    return page.drawing


class _Page:
    def __init__(self, drawing: Drawing, unit: float, cell: float, gap: float, margin: float) -> None:
        self.drawing, self.unit, self.cell, self.gap, self.margin = drawing, unit, cell, gap, margin
        self.y = margin

    def skip(self, points: float) -> None:
        self.y += points * self.unit

    def words(self, x: float, size: float, words: str, colour: str = INK, *, bold: bool = False, room: float) -> float:
        """A line at y, cut where it does not fit; where it ends is returned, and y goes on below it."""
        end = self.line(x, self.y, size, words, colour, bold=bold, room=room)
        self.skip(size * 1.4)
        return end

    def line(
        self, x: float, top: float, size: float, words: str, colour: str = INK, *, bold: bool = False, room: float
    ) -> float:
        points = size * self.unit
        words = fitted(words, points, bold, room)
        if words:
            self.drawing.shapes.append(Text(x, top + points, points, words, colour, bold))
        return x + length(words, points, bold)

    def row(self, query: Seen, way: Said, neighbours: Sequence[Beside], first: bool) -> None:
        """The sentence, then the neighbours; of matches the query above each."""
        room = self.drawing.width - 2 * self.margin
        end = self.line(self.margin, self.y, 16, f"{way.title}: {way.sentence}", bold=True, room=room - 80 * self.unit)
        if way.verdict:
            left = end + 10 * self.unit
            self.line(left, self.y, 16, way.verdict, VERDICTS[way.verdict], bold=True, room=room + self.margin - left)
        self.skip(28)
        matched = way.patches > 0
        top = self.y
        if first and not matched:
            self.picture(query, 0, top, "The picture")
        if matched:
            for column, one in enumerate(neighbours, 1):
                placed = self.picture(query, column, top, f"The picture, with what matches neighbour {column}")
                self.patches(placed, [patch["query"] for patch in one.patches])
            top += self._height([query]) + self.gap
            self.heading(0, self.y, "The picture", "Boxes of one colour and number match.")
            self.heading(0, top, "Its neighbours", "")
        for column, one in enumerate(neighbours, 1):
            placed = self.picture(one.seen, column, top, f"Neighbour {column}: {one.words}")
            self.patches(placed, [patch["neighbour"] for patch in one.patches])
        shown = [one.seen for one in neighbours] + ([query] if first and not matched else [])
        self.y = top + self._height(shown) + 4 * self.unit
        for column, one in enumerate(neighbours, 1):
            self.line(self.left(column), self.y, 14, one.words, room=self.cell)
            self.line(self.left(column), self.y + 19 * self.unit, 12, f"{one.score:.3f}", QUIET, room=self.cell)
        self.skip(40)

    def heading(self, column: int, top: float, words: str, small: str) -> None:
        self.line(self.left(column), top, 14, words, bold=True, room=self.cell)
        for place, each in enumerate(wrapped(small, 12 * self.unit, self.cell)):
            self.line(self.left(column), top + (22 + 17 * place) * self.unit, 12, each, QUIET, room=self.cell)

    def picture(self, one: Seen, column: int, top: float, text: str) -> Picture:
        width, height = self._fitted(one)
        made = Picture(self.left(column), top, width, height, one.draw, text)
        self.drawing.shapes.append(made)
        return made

    def patches(self, on: Picture, corners: Sequence[Sequence[float]]) -> None:
        """Frames first, then badges, the first one on top: no frame covers a number."""
        line, radius = 3 * self.unit, 8 * self.unit
        numbered = list(reversed(list(enumerate(corners, 1))))
        for number, (x0, y0, x1, y1) in numbered:
            x, y = on.x + x0 * on.width, on.y + y0 * on.height
            box = Box(x, y, (x1 - x0) * on.width, (y1 - y0) * on.height, line, number)
            self.drawing.shapes.append(box)
        for number, (x0, y0, *_) in numbered:
            x = min(max(on.x + x0 * on.width, on.x + radius), on.x + on.width - radius)
            y = min(max(on.y + y0 * on.height, on.y + radius), on.y + on.height - radius)
            self.drawing.shapes.append(Badge(x, y, radius, number))

    def left(self, column: int) -> float:
        return self.margin + column * (self.cell + self.gap)

    def _fitted(self, one: Seen) -> tuple[float, float]:
        factor = self.cell / max(one.size)
        return one.size[0] * factor, one.size[1] * factor

    def _height(self, pictures: Sequence[Seen]) -> float:
        return max((self._fitted(one)[1] for one in pictures), default=0.0)


def _title(board: Board) -> str:
    ways = "; ".join(f"{way.title}: {way.sentence}{f', {way.verdict}' if way.verdict else ''}" for way in board.ways)
    return f"{board.query.name}. {ways}" if ways else board.query.name


@lru_cache(maxsize=32)
def font(points: float, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: it has the letters of many languages."""
    spec = find_spec("matplotlib")
    assert spec is not None and spec.origin is not None, "matplotlib is a requirement"  # noqa: PT018
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name), max(points, 1.0))


def length(words: str, points: float, bold: bool = False) -> float:
    """How long a line is, in DejaVu Sans, which is wider than what most systems have instead."""
    return float(font(points, bold).getlength(words))


def fitted(words: str, points: float, bold: bool, room: float) -> str:
    """The line, cut with an ellipsis where it is longer than `room`."""
    words = " ".join(words.split())
    if length(words, points, bold) <= room:
        return words
    while words and length(words + "…", points, bold) > room:
        words = words[:-1]
    return words.rstrip() + "…" if words else ""


def wrapped(words: str, points: float, room: float) -> list[str]:
    """The words in lines that fit."""
    lines: list[str] = []
    for word in words.split():
        if lines and length(f"{lines[-1]} {word}", points) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
