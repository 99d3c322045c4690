"""Attribution pairs as the released harmony_app takes them: one fixture, and a folder of pictures that it names.

Names that its database knows keep their keys there (`harmony_app_names.KEYS`), others follow after them.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image as Pictures

from annotation.errors import StudyRefused
from annotation.exchange.harmony_app_names import (
    EXAMPLE,
    FOLDER,
    KEYS,
    PICTURES,
    TABLES,
    method_name,
    metric_name,
    model_name,
)
from mlcore.exchange.colormaps import COLORMAPS
from mlcore.exchange.render import MapUnavailable, bilinear, load_map, thumbnail
from mlcore.models import AttributionPair, Explanation, PairSet

FIXTURE = "fixture.json"
SIDE = 448  # the longer side of a picture at most; theirs have 224
EPSILON = 1e-9
FIRST_KEY = 1
_PLAIN_DATE = (1980, 1, 1, 0, 0, 0)


def write_harmony_app(pair_sets: Sequence[PairSet], target: Path | IO[bytes], *, first_key: int = FIRST_KEY) -> int:
    """A zip of `fixture.json` and the pictures at the paths that it names; how many examples that are.

    `first_key`: key of the first example, so that a fixture does not replace examples that are there already.
    Raises StudyRefused where a map's file is missing or damaged; OSError.
    """
    if not pair_sets:
        raise StudyRefused("Choose the attribution pairs that are exported.")
    examples: list[dict[str, Any]] = []
    keys = {field: {name: key for key, name in enumerate(known, 1)} for field, known in KEYS.items()}
    used: dict[str, set[str]] = {field: set() for field in TABLES}
    with zipfile.ZipFile(target, "w") as archive:
        for pair_set in pair_sets:
            names = _names(pair_set)
            for field, name in names.items():
                keys[field].setdefault(name, len(keys[field]) + 1)
                used[field].add(name)
            folder = "/".join([FOLDER, *(_plain(names[field]) for field in _PATH_ORDER)])
            classes = pair_set.image_set.classes
            for pair in _pairs(pair_set):
                key = first_key + len(examples)
                paths = {field: f"{folder}/{key}_{field}.png" for field in PICTURES}
                for field, data in _pictures(pair).items():
                    archive.writestr(zipfile.ZipInfo(paths[field], _PLAIN_DATE), data)
                fields = {field: keys[field][name] for field, name in names.items()}
                fields |= {"prediction": classes[pair.original.target]} | paths
                examples.append({"pk": key, "model": EXAMPLE, "fields": fields})
        looked_up = [
            {"pk": keys[field][name], "model": model, "fields": {"name": name}}
            for field, model in TABLES.items()
            for name in sorted(used[field], key=keys[field].__getitem__)
        ]
        text = json.dumps([*looked_up, *examples], ensure_ascii=False, indent=1)
        archive.writestr(zipfile.ZipInfo(FIXTURE, _PLAIN_DATE), text, zipfile.ZIP_DEFLATED)
    return len(examples)


# Their folders, from the outermost on.
_PATH_ORDER = ("dataset", "experiment", "cnn_model", "relevancy_method")


def _names(pair_set: PairSet) -> dict[str, str]:
    return {
        "dataset": pair_set.image_set.name,
        "experiment": metric_name(pair_set.metric),
        "cnn_model": model_name(pair_set.original.classifier.architecture),
        "relevancy_method": method_name(pair_set.method),
    }


def _plain(name: str) -> str:
    """A name that can be a folder's."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "_"


def _pairs(pair_set: PairSet) -> Iterator[AttributionPair]:
    return pair_set.pairs.select_related("image", "original__image", "tuned__image").order_by("position").iterator(200)


def _pictures(pair: AttributionPair) -> dict[str, bytes]:
    """Field of the example → PNG; all three have one size."""
    picture = thumbnail(pair.image, SIDE)
    found = {"image": _png(picture)}
    for field, explanation in (("original", pair.original), ("learn", pair.tuned)):
        found[field] = _png(map_picture(explanation, picture.size))
    return found


def map_picture(explanation: Explanation, size: tuple[int, int]) -> Pictures.Image:
    """The map at (W, H) from white to red, divided by its own maximum + 1e-9. Raises StudyRefused."""
    try:
        raw = load_map(explanation)
    except MapUnavailable as error:
        raise StudyRefused(str(error)) from error
    values = bilinear(np.maximum(np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0), 0), size)
    scaled = values / (float(values.max()) + EPSILON)
    return Pictures.fromarray(COLORMAPS["reds"][np.rint(scaled * 255).astype(np.uint8)])


def _png(picture: Pictures.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
