"""The short question of the kind "match": a picture beside those of a gallery that it looks like (definitions §6).

Galleries and matchers that were asked last stay in memory: a person who draws asks the same ones again.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pictures
from torch import Tensor, nn

from mlcore.catalogue.matchers import MATCHERS
from mlcore.correspondence.base import Compared, Described
from mlcore.correspondence.blocks import GalleryCorrupt
from mlcore.correspondence.features import describe_layers, pool
from mlcore.correspondence.gallery import MANIFEST, Gallery, GalleryMissing
from mlcore.correspondence.search import Index, index_of
from mlcore.correspondence.vote import vote
from mlcore.training.correspond_rows import Places, neighbour_rows
from mlcore.training.errors import JobError
from mlcore.training.job import Item
from mlcore.training.pictures import Geometry, size_of
from mlcore.training.setup import resolve

NEAREST = "knn"
GALLERIES_KEPT, MATCHERS_KEPT = 4, 4
MARKED = 0.25  # a cell is marked where so much of it is painted
T = TypeVar("T")


@dataclass(frozen=True)
class Opened:
    """A gallery and the index of its pooled features."""

    gallery: Gallery
    index: Index


@dataclass(frozen=True)
class Query:
    """The picture that is asked about: its file, its tensor (1, 3, S, S) on the device, and how it was made of it."""

    path: Path
    images: Tensor
    geometry: Geometry


class Matching:
    """Answers questions of this kind, one after another."""

    def __init__(self) -> None:
        self._galleries: OrderedDict[Any, Opened] = OrderedDict()
        self._matchers: OrderedDict[Any, Any] = OrderedDict()

    def answer(self, question: Mapping[str, Any], model: nn.Module, query: Query) -> dict[str, Any]:
        """What each way of deciding says: the nearest neighbours, and the matcher that was asked for.

        "matcher": a name of the catalogue, with "options". "gallery": {"folder", "layer", "images": {id: [class,
        path]}}; images that are not listed take no part. "middle": {"folder", "layer"} of what a correspondence network
        reads. "own": the picture's own id in the gallery, which is left out. "candidates", "votes", "ties",
        "neighbours": as of a run. "marked": [[row, column], …] of the cells that count, or "mask": a file of the
        picture's size, white where they lie.

        Gives "label", "confidence" and "neighbours" of the matcher asked for; "ways", the same with "method", the
        nearest neighbours first; "votes" that were cast; "grid" (rows, columns); "picture" and "window" as of a map;
        "marked", the cells; "images", how many are in the gallery.
        """
        name = str(question.get("matcher") or NEAREST)
        matcher = self._matcher(name, question.get("options") or {}, query.images.device)
        told = question["gallery"]
        opened = self._opened(str(told["folder"]))
        cells, middle = _describe(model, told, question.get("middle"), matcher, query)
        grid = (int(cells.shape[2]), int(cells.shape[3]))
        if tuple(cells.shape[1:]) != tuple(opened.gallery.shape):
            raise JobError("The gallery holds other features than the classifier gives: build it again.")
        marked = _marked(question, query, grid)
        if marked is not None and matcher is None:
            raise JobError(f"{MATCHERS[name].title} look at whole pictures: no cells can be marked for them.")
        rows, scores = _search(opened, told, pool(cells), question)
        others = [_item(opened.gallery.ids[row], told["images"]) for row in rows.tolist()]
        labels = torch.tensor([int(other.label or 0) for other in others])
        compared = None
        if matcher is not None:
            wider = self._opened(str(question["middle"]["folder"])) if middle is not None else None
            compared = _compare(name, matcher, (cells, middle), (opened.gallery, wider), rows, marked)
        own = Item(id="", path=str(query.path))
        places = Places(query.geometry, grid)
        votes, ties = int(question.get("votes", 20)), str(question.get("ties", "nearest"))
        most = int(question.get("neighbours", 10))

        def decided(method: str, alike: Tensor, found: Compared | None) -> dict[str, Any]:
            order = alike.argsort(descending=True, stable=True)
            label, confidence = vote(labels[order][None], votes=votes, ties=ties)
            near = torch.arange(len(others))
            return {
                "method": method,
                "label": int(label[0]),
                "confidence": round(float(confidence[0]), 6),
                "neighbours": neighbour_rows(own, others, near, alike, order, labels, found, 0, most, places),
            }

        ways = [decided(NEAREST, scores, None)]
        if compared is not None:
            ways.append(decided(name, compared.scores[0].float().cpu(), compared))
        size = size_of(query.path)
        return {key: ways[-1][key] for key in ("label", "confidence", "neighbours")} | {
            "ways": ways,
            "votes": min(votes, len(others)),
            "grid": list(grid),
            "marked": None if marked is None else marked[0].nonzero().tolist(),
            "picture": list(size),
            "window": list(query.geometry.window(size)),
            "images": len(told["images"]),
            "device": str(query.images.device),
        }

    def _opened(self, folder: str) -> Opened:
        """From memory where its files are the same as before. Raises JobError."""
        manifest = Path(folder) / MANIFEST
        changed = manifest.stat().st_mtime_ns if manifest.is_file() else 0
        return _kept(self._galleries, (folder, changed), GALLERIES_KEPT, lambda: _open(folder))

    def _matcher(self, name: str, options: Mapping[str, Any], device: torch.device) -> Any:
        """None for the plain nearest neighbours. Raises JobError."""
        if name not in MATCHERS:
            raise JobError(f"There is no way of comparing “{name}”; there are {', '.join(MATCHERS)}.")
        if not MATCHERS[name].path:
            return None
        key = json.dumps([name, dict(options), str(device)], sort_keys=True)
        return _kept(self._matchers, key, MATCHERS_KEPT, lambda: _made(name, options, device))


def _kept(among: OrderedDict[Any, T], key: Any, most: int, make: Callable[[], T]) -> T:
    if key not in among:
        among[key] = make()
        while len(among) > most:
            among.popitem(last=False)
    among.move_to_end(key)
    return among[key]


def _open(folder: str) -> Opened:
    try:
        gallery = Gallery.open(folder)
    except GalleryMissing as error:
        raise JobError("The features of this gallery are not there: build it first.") from error
    except GalleryCorrupt as error:
        raise JobError(f"{error} Build the gallery again: only this file is made anew.") from error
    return Opened(gallery, index_of("exact", gallery.pooled_rows))


def _made(name: str, options: Mapping[str, Any], device: torch.device) -> Any:
    spec = MATCHERS[name]
    try:
        made = resolve(spec.path)(**options)
    except (TypeError, ValueError, OSError) as error:
        raise JobError(f"{spec.title} refuses its options: {error}") from error
    return made.to(device).eval() if isinstance(made, nn.Module) else made


def _describe(
    model: nn.Module, told: Mapping[str, Any], middle: Any, matcher: Any, query: Query
) -> tuple[Tensor, Tensor | None]:
    """Cells of the query (1, C, h, w), and those of the middle layer where the matcher reads them."""
    names = [str(told["layer"])]
    needed = matcher is not None and matcher.needs_middle
    if needed:
        if not middle:
            raise JobError("This way of comparing reads a second layer, and the question brings no gallery of it.")
        names.append(str(middle["layer"]))
    try:
        found = describe_layers(model, names, query.images)
    except ValueError as error:
        raise JobError(str(error)) from error
    return found[0], found[1] if needed else None


def _search(
    opened: Opened, told: Mapping[str, Any], pooled: Tensor, question: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """Rows (k,) of the gallery and their cosines, nearest first: images that are listed, and never the query itself."""
    gallery, listed = opened.gallery, told["images"]
    silent = sum(name not in listed for name in gallery.ids)
    own = gallery.row_of.get(str(question.get("own") or ""), -1)
    wanted = int(question.get("candidates", 50))
    rows, scores = opened.index.search(pooled, wanted + silent, exclude=torch.tensor([own]))
    chosen = [
        place for place, row in enumerate(rows[0].tolist()) if row >= 0 and gallery.ids[row] in listed
    ][:wanted]  # fmt: skip
    if not chosen:
        raise JobError("No image of the gallery can vote: each needs one label.")
    return rows[0, chosen], scores[0, chosen].float()


def _item(name: str, listed: Mapping[str, Sequence[Any]]) -> Item:
    label, path = listed[name]
    return Item(id=name, path=str(path), label=int(label))


def _compare(
    name: str,
    matcher: Any,
    ours: tuple[Tensor, Tensor | None],
    theirs: tuple[Gallery, Opened | None],
    rows: Tensor,
    marked: Tensor | None,
) -> Compared:
    device = ours[0].device
    gallery, wider = theirs
    middle = None
    if wider is not None:
        names = [gallery.ids[row] for row in rows.tolist()]
        missing = [one for one in names if one not in wider.gallery.row_of]
        if missing:
            raise JobError("The features of the second layer miss images of the gallery: build it again.")
        middle = wider.gallery.spatial([wider.gallery.row_of[one] for one in names]).to(device)[None]
    candidates = Described(gallery.spatial(rows).to(device)[None], middle)
    try:
        with torch.no_grad():
            found: Compared = matcher.compare(Described(*ours), candidates, marked)
    except ValueError as error:
        sentence = str(error)
        title = MATCHERS[name].title
        raise JobError(sentence if sentence.startswith(title) else f"{title}: {sentence}") from error
    return found


def _marked(question: Mapping[str, Any], query: Query, grid: tuple[int, int]) -> Tensor | None:
    """(1, h, w) bool on the device, None where nothing is marked. Raises JobError."""
    if question.get("mask"):
        found = _cells_of(Path(str(question["mask"])), query, grid)
    else:
        found = torch.zeros(grid, dtype=torch.bool)
        for row, column in question.get("marked") or ():
            if not (0 <= row < grid[0] and 0 <= column < grid[1]):
                raise JobError(f"The picture has {grid[0]} × {grid[1]} cells; there is none at {row}, {column}.")
            found[row, column] = True
        if not question.get("marked"):
            return None
    if not found.any():
        raise JobError("Nothing is marked where the classifier looks: mark a cell, or compare without marks.")
    return found[None].to(query.images.device)


def _cells_of(path: Path, query: Query, grid: tuple[int, int]) -> Tensor:
    """The cells of which a person painted a quarter, of a mask at the picture's size, through the same geometry."""
    try:
        with Pictures.open(path) as opened:
            painted = opened.convert("L")
    except (OSError, ValueError, SyntaxError) as error:
        raise JobError(f"The mask {path.name} cannot be read ({error}).") from error
    size = size_of(query.path)
    if painted.size != size:
        raise JobError(
            f"The mask {path.name} is {painted.width}×{painted.height}, its picture {size[0]}×{size[1]}; "
            "they must have the same size."
        )
    scaled = query.geometry.scaled(size)
    left, top = query.geometry.centre(scaled)
    side = query.geometry.size
    white = np.asarray(painted.resize(scaled, Pictures.Resampling.BOX).crop((left, top, left + side, top + side)))
    shares = F.adaptive_avg_pool2d(torch.from_numpy(white.copy()).float()[None, None] / 255, grid)
    return shares[0, 0] >= MARKED
