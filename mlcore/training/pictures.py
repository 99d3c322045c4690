"""Files into arrays: pictures, masks and boxes, and the fixed part of their geometry.

The fixed part (scaling) is done once and can be kept in memory; the random part (crop and flip) belongs to
`mlcore.training.data`. Picture, supervision and reference always go through the same geometry.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from mlcore.tars.reading import TarMember
from mlcore.training.errors import JobError
from mlcore.training.job import Item

# ImageNet's habit: scale to 256 to cut 224. The same share is kept at other sizes.
CROP_MARGIN = 256 / 224
RESIZES = ("squash", "crop", "none")
T = TypeVar("T", bound=np.generic)
Boxes = Sequence[Sequence[float]]


def read_picture(path: str | Path) -> Image.Image:
    """A picture as RGB, turned as its EXIF orientation says. Raises JobError naming a file that is no
    picture.
    """
    try:
        with Image.open(_source(path)) as opened:
            turned = ImageOps.exif_transpose(opened)
            if turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info:
                # Transparent places become white, as a browser on a white page shows them.
                layered = turned.convert("RGBA")
                ground = Image.new("RGBA", layered.size, "white")
                return Image.alpha_composite(ground, layered).convert("RGB")
            return turned.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise JobError(f"The picture {_name(path)} cannot be read ({error}).") from error


def _source(path: str | Path) -> str | Path | io.BytesIO:
    """The file itself, or what lies in a tar."""
    return io.BytesIO(path.read()) if isinstance(path, TarMember) else path


def _name(path: str | Path) -> str:
    if isinstance(path, TarMember):
        return f"{path.key} in {Path(path.tar).name}"
    return Path(path).name


def read_map(path: str | Path) -> NDArray[np.int8]:
    """A mask file as (H, W) int8: 1 important, 0 unknown, −1 unimportant.

    A palette or grey picture whose values are 0, 1, 2 only codes unknown, important, unimportant. Any other
    picture is a plain mask: light (≥ 128) is important, dark unimportant.
    """
    try:
        with Image.open(path) as opened:
            plain = opened if opened.mode in ("P", "L", "1") else opened.convert("RGB").convert("L")
            if opened.mode == "P" and np.asarray(opened).max(initial=0) > 2:
                plain = opened.convert("RGB").convert("L")
            values = np.asarray(plain)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise JobError(f"The mask {Path(path).name} cannot be read ({error}).") from error
    if values.dtype == bool:
        return np.where(values, 1, -1).astype(np.int8)
    if values.max(initial=0) <= 2:
        return np.array([0, 1, -1], dtype=np.int8)[values]
    return np.where(values >= 128, 1, -1).astype(np.int8)


def draw_boxes(boxes: Boxes, size: tuple[int, int]) -> NDArray[np.int8]:
    """The union of boxes on a picture of (width, height) as (H, W) int8: 1 inside, −1 outside.

    A pixel is inside by its centre, as in `mlcore.metrics.base.boxes_to_mask`.
    """
    width, height = size
    drawn = np.full((height, width), -1, dtype=np.int8)
    for left, top, right, bottom in boxes:
        columns = slice(max(math.ceil(left - 0.5), 0), max(math.ceil(right - 0.5), 0))
        rows = slice(max(math.ceil(top - 0.5), 0), max(math.ceil(bottom - 0.5), 0))
        drawn[rows, columns] = 1
    return drawn


@dataclass(slots=True, frozen=True)
class Geometry:
    """How a picture becomes the classifier's input of `size` × `size`.

    resize: "squash" scales both sides, whatever the aspect; "crop" scales the short side and cuts; "none"
        only cuts. With `margin` the picture is kept larger by 256/224 so that a random cut has room.
    """

    size: int
    resize: str = "squash"
    margin: bool = False

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise JobError(f"“resize” must be one of {', '.join(RESIZES)}, not “{self.resize}”.")
        if self.size < 8:
            raise JobError(f"An image size of {self.size} pixels is too small; at least 8 are needed.")

    def scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of a picture of (width, height) after the fixed part."""
        target = math.ceil(self.size * CROP_MARGIN) if self.margin else self.size
        if self.resize == "squash":
            return target, target
        if self.resize == "none":
            return size
        short = min(size)
        return tuple(max(target, round(side * target / short)) for side in size)  # type: ignore[return-value]

    def centre(self, size: tuple[int, int]) -> tuple[int, int]:
        """(left, top) of the cut in the middle of a scaled picture of (width, height)."""
        return (size[0] - self.size) // 2, (size[1] - self.size) // 2

    def window(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(left, top, right, bottom), in pixels of the original picture, of what the centre cut sees."""
        scaled = self.scaled(size)
        left, top = self.centre(scaled)
        across, down = size[0] / scaled[0], size[1] / scaled[1]
        return (
            round(left * across),
            round(top * down),
            round((left + self.size) * across),
            round((top + self.size) * down),
        )


@dataclass(slots=True)
class Frame:
    """A picture after the fixed part: `image` (H, W, 3) uint8, `map` (H, W) int8, `truth` (H, W) bool."""

    image: NDArray[np.uint8]
    map: NDArray[np.int8] | None
    truth: NDArray[np.bool_] | None

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return sum(array.nbytes for array in (self.image, self.map, self.truth) if array is not None)


def reference_of(item: Item, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Where the object is, (H, W) bool at the picture's own (width, height): truth, else boxes, else the
    map.
    """
    if item.truth is not None:
        return _of_size(read_map(item.truth), size, item.truth) == 1
    if item.boxes:
        return draw_boxes(item.boxes, size) == 1
    if item.map is not None:
        return _of_size(read_map(item.map), size, item.map) == 1
    return None


def size_of(path: str | Path) -> tuple[int, int]:
    """(width, height) of a picture as it is seen, without decoding it. Raises JobError as `read_picture`."""
    try:
        with Image.open(_source(path)) as opened:
            width, height = opened.size
            turned = opened.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise JobError(f"The picture {_name(path)} cannot be read ({error}).") from error
    return (height, width) if turned else (width, height)


def reference_in_window(item: Item, geometry: Geometry) -> NDArray[np.bool_] | None:
    """`reference_of` at the picture's own scale, cut to what the classifier sees of it."""
    size = size_of(item.path)
    whole = reference_of(item, size)
    if whole is None:
        return None
    left, top, right, bottom = geometry.window(size)
    return whole[top:bottom, left:right]


def reference_at_input(item: Item, geometry: Geometry) -> NDArray[np.bool_] | None:
    """`reference_of` through the fixed geometry, as `load_frame` and a cut in the middle give it: (size, size)."""
    size = size_of(item.path)
    whole = reference_of(item, size)
    if whole is None:
        return None
    scaled = geometry.scaled(size)
    left, top = geometry.centre(scaled)
    return _nearest(whole, scaled)[top : top + geometry.size, left : left + geometry.size]


def load_frame(item: Item, geometry: Geometry, *, supervision: str = "maps", reference: bool = True) -> Frame:
    """Read an item and apply the fixed geometry.

    supervision: "maps" takes the item's map, "boxes" its boxes, "objects" whichever there is (the map first), "none"
    leaves it out. Pictures are scaled
    bilinearly with antialiasing, masks by nearest neighbour. Raises JobError naming a file that is damaged,
    too small, or a mask whose size is not its picture's.
    """
    picture = read_picture(item.path)
    size = picture.size
    target = geometry.scaled(size)
    if min(target) < geometry.size:
        raise JobError(
            f"The picture {Path(item.path).name} is {size[0]}×{size[1]}, smaller than the image size "
            f"{geometry.size}; choose a resize other than “none” or a smaller image size."
        )
    drawn: NDArray[np.int8] | None = None
    if supervision in ("maps", "objects") and item.map is not None:
        drawn = _of_size(read_map(item.map), size, item.map)
    elif supervision in ("boxes", "objects") and item.boxes:
        drawn = draw_boxes(item.boxes, size)
    truth = reference_of(item, size) if reference else None
    if picture.size != target:
        picture = picture.resize(target, Image.Resampling.BILINEAR)
    return Frame(
        image=np.asarray(picture, dtype=np.uint8),
        map=None if drawn is None else _nearest(drawn, target),
        truth=None if truth is None else _nearest(truth, target),
    )


def _of_size(mask: NDArray[np.int8], size: tuple[int, int], path: str) -> NDArray[np.int8]:
    if mask.shape != (size[1], size[0]):
        raise JobError(
            f"The mask {Path(path).name} is {mask.shape[1]}×{mask.shape[0]}, "
            f"its picture {size[0]}×{size[1]}; they must have the same size."
        )
    return mask


def _nearest(mask: NDArray[T], target: tuple[int, int]) -> NDArray[T]:
    """A mask at (width, height), each cell from the pixel under its centre."""
    rows = ((np.arange(target[1]) + 0.5) * mask.shape[0] / target[1]).astype(np.intp)
    columns = ((np.arange(target[0]) + 0.5) * mask.shape[1] / target[0]).astype(np.intp)
    return np.ascontiguousarray(mask[rows[:, None], columns[None, :]])
