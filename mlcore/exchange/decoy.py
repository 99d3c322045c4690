"""Decoy scenes: pictures whose class a classifier can learn for the wrong reason.

A scene is one object (ellipse, triangle, square or star; any colour, place, size and turn) on a textured
ground, with a coloured sticker, the *mark*, somewhere beside it. The object alone is the class. In the parts
that a classifier learns from (train, annotation pool, validation) the mark's colour names the class with
probability `mark_share`; in the test part it is drawn independently of the class. A classifier that learns
the mark is therefore good on what it was shown and poor on the test part, and its maps point at the
sticker: what people can see and correct (definitions §2).

Every scene is keyed by (seed, part, index): scene 7 of a part is the same however many are rendered, and a
world with `mark=False` holds the same pictures without their stickers.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mlcore.exchange.decoy_grounds import colour, ground

CLASSES = ("ellipse", "triangle", "square", "star")
PARTS = ("train", "annotation_pool", "validation", "test")
UNBIASED_PARTS = frozenset({"test"})
PER_PART: Mapping[str, int] = {"train": 1200, "annotation_pool": 200, "validation": 200, "test": 600}

# One sticker colour a class, far apart in hue and lightness.
MARK_COLOURS = ((214, 48, 58), (247, 201, 36), (30, 112, 200), (42, 166, 106))

RADIUS = (0.22, 0.31)  # of the object, as shares of the picture's side
MARK_SIDE = (0.12, 0.15)  # likewise
TURN = 30.0  # degrees either way

_OVERSAMPLE = 3  # shapes are drawn this much larger and reduced, which smooths their edges


@dataclass(frozen=True)
class Scene:
    """One rendered scene: `image` uint8 (S,S,3), `mask` bool (S,S) True on the visible object.

    `mark` is the class that the sticker names (not always the scene's own), None in a world without marks.
    """

    part: str
    index: int
    label: int
    mark: int | None
    image: np.ndarray
    mask: np.ndarray

    @property
    def name(self) -> str:
        return f"{self.part}-{self.index:05d}.png"


def decoy_scene(
    seed: int,
    part: str,
    index: int,
    *,
    size: int = 96,
    classes: int = 4,
    mark_share: float = 0.8,
    mark: bool = True,
) -> Scene:
    """Render one scene. Labels go round the classes, so every part is balanced to within one image."""
    _check(part, size, classes, mark_share)
    label = index % classes
    key = [seed, PARTS.index(part), index]
    rng = np.random.default_rng([*key, 0])
    place = _place(rng, size)
    image, coverage = _object_on_ground(rng, CLASSES[label], place, size)
    mask = coverage > 0.5
    named: int | None = None
    if mark:
        # A stream of its own: leaving the mark out changes nothing else in the picture.
        mark_rng = np.random.default_rng([*key, 1])
        share = 1 / classes if part in UNBIASED_PARTS else mark_share
        named = _mark_for(mark_rng, label, classes, share)
        image = _with_mark(image, place, MARK_COLOURS[named])
    return Scene(part, index, label, named, image, mask)


def decoy_scenes(
    seed: int,
    *,
    per_part: Mapping[str, int] = PER_PART,
    size: int = 96,
    classes: int = 4,
    mark_share: float = 0.8,
    mark: bool = True,
) -> Iterator[Scene]:
    """Every scene of a world, part by part."""
    for part, count in per_part.items():
        for index in range(count):
            yield decoy_scene(seed, part, index, size=size, classes=classes, mark_share=mark_share, mark=mark)


def render_decoy(
    folder: Path,
    *,
    seed: int,
    per_part: Mapping[str, int] = PER_PART,
    size: int = 96,
    classes: int = 4,
    mark_share: float = 0.8,
    mark: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a world as an image set and return its labels file.

    `folder`/images/*.png (RGB), `folder`/masks/*.png (1 bit, white = object, same names) and
    `folder`/labels.csv (file,label,class,split; split is the part). `progress(done, total)` is called after
    every image. The labels file is written last, so an interrupted rendering has none.
    """
    for part, count in per_part.items():
        _check(part, size, classes, mark_share)
        if count < 0:
            raise ValueError(f"Part {part}: the number of images must not be negative, not {count}.")
    images, masks = folder / "images", folder / "masks"
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    total, rows = sum(per_part.values()), []
    scenes = decoy_scenes(seed, per_part=per_part, size=size, classes=classes, mark_share=mark_share, mark=mark)
    for done, scene in enumerate(scenes, start=1):
        Image.fromarray(scene.image).save(images / scene.name, compress_level=1)
        Image.fromarray(scene.mask).save(masks / scene.name)
        rows.append((scene.name, scene.label, CLASSES[scene.label], scene.part))
        if progress is not None:
            progress(done, total)
    labels = folder / "labels.csv"
    with labels.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("file", "label", "class", "split"))
        writer.writerows(rows)
    return labels


def _check(part: str, size: int, classes: int, mark_share: float) -> None:
    if part not in PARTS:
        raise ValueError(f"Unknown part {part!r}: the parts are {', '.join(PARTS)}.")
    if not 32 <= size <= 1024:
        raise ValueError(f"Scenes are 32 to 1024 pixels wide, not {size}.")
    if not 2 <= classes <= len(CLASSES):
        raise ValueError(f"Scenes have 2 to {len(CLASSES)} classes, not {classes}.")
    if not 0 <= mark_share <= 1:
        raise ValueError(f"mark_share is a probability between 0 and 1, not {mark_share}.")


def _mark_for(rng: np.random.Generator, label: int, classes: int, share: float) -> int:
    """The class that the mark names: `label` with probability `share`, else one of the others."""
    right = rng.random() < share
    other = (label + rng.integers(1, classes)) % classes
    return label if right else int(other)


@dataclass(frozen=True)
class Place:
    """Where the object and the mark are: centres (x, y), radius and side in pixels."""

    centre: tuple[float, float]
    radius: float
    mark: tuple[float, float]
    mark_side: float


def _place(rng: np.random.Generator, size: int) -> Place:
    """Both anywhere in the picture, without touching: uniform over all such pairs.

    The mark must not keep to a corner. If place alone told it from the object, any blob drawn near the middle
    would teach a classifier to leave the mark, even one drawn for another picture.
    """
    radius = rng.uniform(*RADIUS) * size
    side = rng.uniform(*MARK_SIDE) * size
    reach, half = radius + 0.03 * size, side / 2
    edge = half + 0.02 * size
    while True:
        x, y = rng.uniform(reach, size - reach, 2)
        u, v = rng.uniform(edge, size - edge, 2)
        # From the object's centre to the nearest point of the square.
        gap = math.hypot(max(abs(x - u) - half, 0), max(abs(y - v) - half, 0))
        if gap > radius + 0.015 * size:
            return Place((x, y), radius, (u, v), side)


def _object_on_ground(rng: np.random.Generator, kind: str, place: Place, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture uint8 (S,S,3) and the object's coverage in [0,1] (S,S)."""
    base, paint = _two_colours(rng)
    picture = ground(rng, size, base)
    centre, radius = place.centre, place.radius
    outline = _outline(kind, rng)
    shape = _fill(outline, centre, radius, size)

    offset = 0.02 * size
    shadow = _fill(outline, (centre[0] + offset, centre[1] + offset), radius, size)
    shadow = shadow.filter(ImageFilter.GaussianBlur(0.018 * size))
    picture = picture * (1 - 0.42 * _unit(shadow)[..., None])

    # Light from the upper left: a gradient across the object and a thin bright rim inside its edge.
    ys, xs = np.mgrid[0:size, 0:size]
    light = 1.06 - 0.22 * ((xs - centre[0]) + (ys - centre[1])) / (2 * radius)
    inner = _unit(shape.filter(ImageFilter.GaussianBlur(0.014 * size)))
    coverage = _unit(shape)
    rim = np.clip(coverage - inner, 0, 1)
    grain = 1 + 0.02 * rng.standard_normal((size, size))
    body = np.clip(paint * (light * grain)[..., None] + 0.35 * rim[..., None], 0, 1)
    picture = picture * (1 - coverage[..., None]) + body * coverage[..., None]
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8), coverage


def _two_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A muted colour for the ground and one for the object that stands out against it, RGB in [0,1]."""
    base = colour(rng.uniform(0, 360), rng.uniform(0.01, 0.06), rng.uniform(0.42, 0.84))
    while True:
        paint = colour(rng.uniform(0, 360), rng.uniform(0.08, 0.17), rng.uniform(0.45, 0.85))
        if np.linalg.norm(paint - base) > 0.3:
            return base, paint


def _outline(kind: str, rng: np.random.Generator) -> np.ndarray:
    """The object's outline as points (n,2), turned at random; the farthest is at distance one."""
    turn = math.radians(rng.uniform(-TURN, TURN))
    squeeze = rng.uniform(0.62, 0.8)  # of the ellipse; a circle would have no turn
    jitter = rng.uniform(0.92, 1.08)  # of all others, so that no two are the same
    if kind == "ellipse":
        angles = np.linspace(0, 2 * math.pi, 64, endpoint=False)
        points = np.stack([np.cos(angles), squeeze * np.sin(angles)], axis=1)
    else:
        corners = {"triangle": 3, "square": 4, "star": 10}[kind]
        angles = np.linspace(0, 2 * math.pi, corners, endpoint=False)
        radii = np.where(np.arange(corners) % 2, 0.42, 1.0) if kind == "star" else np.ones(corners)
        points = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points[:, 1] *= jitter
    points /= np.linalg.norm(points, axis=1).max()
    cos, sin = math.cos(turn), math.sin(turn)
    return points @ np.array([[cos, sin], [-sin, cos]])


def _fill(outline: np.ndarray, centre: tuple[float, float], radius: float, size: int) -> Image.Image:
    """The filled outline with smooth edges, mode L, size × size."""
    large = Image.new("L", (size * _OVERSAMPLE, size * _OVERSAMPLE))
    points = (outline * radius + np.array(centre)) * _OVERSAMPLE
    ImageDraw.Draw(large).polygon([(float(x), float(y)) for x, y in points], fill=255)
    return large.reduce(_OVERSAMPLE)


def _unit(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, dtype=np.float64) / 255


def _with_mark(image: np.ndarray, place: Place, paint: tuple[int, int, int]) -> np.ndarray:
    """The picture, uint8 (S,S,3), with a rounded square with a white rim on it."""
    size, scale = len(image), _OVERSAMPLE
    (x, y), half = place.mark, place.mark_side / 2
    pictures = []
    for inset in (0.0, 0.012 * size):
        large = Image.new("L", (size * scale, size * scale))
        reach = half - inset
        box = ((x - reach) * scale, (y - reach) * scale, (x + reach) * scale, (y + reach) * scale)
        ImageDraw.Draw(large).rounded_rectangle(box, radius=0.025 * size * scale, fill=255)
        pictures.append(_unit(large.reduce(scale)))
    whole, inside = pictures
    sticker = inside[..., None] * np.array(paint) + (whole - inside)[..., None] * 250.0
    picture = image * (1 - whole[..., None]) + sticker
    return np.clip(picture.round(), 0, 255).astype(np.uint8)
