"""Features of a whole image set, computed or brought up to date; no queries, no votes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlcore.correspondence.features import last_spatial_layer
from mlcore.correspondence.store import Gallery, update
from mlcore.training.correspond_features import Describer
from mlcore.training.job import parse
from mlcore.training.setup import machine_of, model_of


def fill(
    raw: Mapping[str, Any],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None],
) -> tuple[Gallery, int]:
    """The gallery of all the job's images, and how many had to be computed.

    raw: a job of the kind "correspond" with a classifier and images, and beside it "layer" (empty: the last with
    cells), "folder" and "key". Raises JobError, GalleryCancelled, ValueError and OSError as `update` does.
    """
    job = parse(raw)
    machine = machine_of(job)
    model = model_of(job, machine).eval()
    items = [item for part in job.parts.values() for item in part]
    describer = Describer(job, machine, model, str(raw["layer"]) or last_spatial_layer(model), items)
    gallery = update(
        raw["folder"],
        dict(raw["key"]),
        [(item.id, item.key or item.id) for item in items],
        describer,
        batch=int(job.option("batch_size", 32)),
        progress=progress,
        cancelled=cancelled,
        tell=tell,
    )
    return gallery, describer.count
