"""Training images from tar shards: which, as they were when the run was started; nothing of them is a row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from mlcore.catalogue.several import several
from mlcore.catalogue.tuning import TRAINS, learns, needs_objects
from mlcore.models import Run
from mlcore.runs.job_classifier import JobImpossible
from mlcore.runs.wish import Refusal, Wish
from mlcore.tars.index import class_numbers, ensure, kept
from mlcore.tars.names import ShardsRefused, find

# Looked through while the person waits; more is the business of a command.
LOOK_THROUGH_BYTES = 4 << 30


def frozen_shards(recipe: dict[str, Any], classes: list[str]) -> list[list[Any]]:
    """[path below SHARDS_DIR, bytes, SHA-256 of the index, images] of every shard that the recipe names.

    Raises ShardsRefused: shards that are absent, damaged or not looked through yet, a sample that lacks its label or
    has one that is none of `classes` (where the run learns labels).
    """
    paths = find(recipe["shards"], settings.SHARDS_DIR)
    unknown = [path for path in paths if kept(path, settings.SHARD_INDEX_DIR) is None]
    if sum(path.stat().st_size for path in unknown) > LOOK_THROUGH_BYTES:
        raise ShardsRefused(
            f"{len(unknown)} shards were not looked through yet; that takes long, so do it once by "
            f"“manage.py index_shards {recipe['shards']}”."
        )
    root = Path(settings.SHARDS_DIR).resolve()
    frozen = []
    for path in paths:
        index, _ = ensure(path, settings.SHARD_INDEX_DIR)
        if learns(recipe):
            class_numbers(index, path.name, classes)
        frozen.append([path.relative_to(root).as_posix(), index.bytes, index.digest(), len(index)])
    return frozen


def shards_of(run: Run, entries: list[list[Any]]) -> list[dict[str, Any]]:
    """What the run's process is told. Raises JobImpossible naming a shard that is gone or of another size."""
    root = Path(settings.SHARDS_DIR).resolve() if settings.SHARDS_DIR else None
    told = []
    for name, size, sha256, _ in entries:
        path = None if root is None else (root / name).resolve()
        if path is None or root is None or not path.is_relative_to(root) or not path.is_file():
            raise JobImpossible(f"The shard {name} of this run is not in this worker's folder of shards (SHARDS_DIR).")
        if path.stat().st_size != size:
            raise JobImpossible(f"The shard {name} was changed since this run was started.")
        told.append({"tar": str(path), "indexes": str(settings.SHARD_INDEX_DIR), "sha256": sha256})
    return told


def shard_refusals(wish: Wish) -> Iterator[Refusal]:
    """What a run on shards cannot be."""
    if wish.kind not in TRAINS or not wish.recipe["shards"]:
        return
    if wish.supervision is not None:
        yield "supervision", "Shards carry no maps of people: leave the supervision out, or the shards."
    if needs_objects(wish.recipe):
        yield "shards", "This objective has to know where the object is, which shards do not say: leave them out."
    if several(wish.recipe):
        yield "shards", "Images of shards have one label each: leave them out, or choose one label an image."
