"""GRADIA's two JSON files: what people drew (file → 2-D list or path) and what they said (file → case).

Drawn maps become arrays of 0 unknown, 1 important, 2 unimportant at the picture's size.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from mlcore.exchange.readers import Folder
from mlcore.exchange.report import ImportRefused, Problem
from mlcore.exchange.verify import MAX_BYTES, BadImage, open_picture
from mlcore.models import SupervisionItem

# Our own file beside theirs: the four parts, the classes' order, the weights.
MANIFEST = "harmony.json"
FORMAT = "harmony-gradia-1"
UNKNOWN, IMPORTANT, UNIMPORTANT = 0, 1, 2
MAX_JSON_BYTES = 2 * 1024**3
Case = SupervisionItem.Case
Codes = NDArray[np.uint8]

# Written as they do; read in any case, with or without comma and underscore.
CASES: dict[str, str] = {
    "Unreasonable Inaccurate": Case.UNREASONABLE_INACCURATE,
    "Unreasonable Accurate": Case.UNREASONABLE_ACCURATE,
    "Reasonable Inaccurate": Case.REASONABLE_INACCURATE,
    "Reasonable Accurate": Case.REASONABLE_ACCURATE,
}
WORDS = {case: words for words, case in CASES.items()}


class BadMap(Exception):
    """A drawn map that cannot be read; the text is the sentence."""


def read_json(path: Path, problems: list[Problem]) -> dict[str, Any]:
    """The object of a JSON file; a key that stands twice is named. Raises ImportRefused."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in found:
            if key in made:
                problems.append(Problem(f"“{key}” stands twice; the last one counts.", path.name))
            made[key] = value
        return made

    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ImportRefused(f"{path.name}: more than {MAX_JSON_BYTES / 1e9:.0f} GB are not taken.")
        found = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=pairs)
    except (OSError, ValueError, RecursionError) as error:
        raise ImportRefused(f"{path.name}: the file is not JSON that can be read ({error}).") from error
    if not isinstance(found, dict):
        raise ImportRefused(f"{path.name}: the file must hold an object: file name → what is said about it.")
    return found


def read_cases(path: Path, problems: list[Problem]) -> dict[str, str]:
    """File → case of the reasonability matrix; entries that name no case are named."""
    known = {_plain(words): case for words, case in CASES.items()}
    cases = {}
    for file, said in read_json(path, problems).items():
        case = known.get(_plain(said)) if isinstance(said, str) else None
        if case is None:
            problems.append(Problem(f"{json.dumps(said)[:60]} is none of {', '.join(CASES)}.", f"{path.name} ({file})"))
        else:
            cases[file] = case
    return cases


def _plain(words: str) -> str:
    return " ".join(words.lower().replace("_", " ").replace(",", " ").split())


def codes_of(value: Any, folder: Folder, size: tuple[int, int], rest: int = UNIMPORTANT) -> tuple[Codes, str]:
    """A drawn map, (H, W) for size = (W, H), and a sentence where it had to be brought to that size.

    value: a 2-D list, or the path of a picture below `folder`. With negative numbers (as RES writes them) positive is
    important, negative unimportant and 0 unknown; else what lies above half of the maximum is important and the
    others are `rest`. Raises BadMap.
    """
    values = _picture(value, folder) if isinstance(value, str) else _array(value)
    if values.min() < 0:
        codes = np.select([values > 0, values < 0], [IMPORTANT, UNIMPORTANT], UNKNOWN)
    else:
        codes = np.where((values > 0) & (2 * values > values.max()), IMPORTANT, rest)
    coded = codes.astype(np.uint8)
    if coded.shape == (size[1], size[0]):
        return coded, ""
    fitted = Pictures.fromarray(coded).resize(size, Pictures.Resampling.NEAREST)
    height, width = coded.shape
    return np.asarray(fitted), f"The drawn map is {width}×{height}; it was brought to {size[0]}×{size[1]}."


def _array(value: Any) -> NDArray[np.float64]:
    try:
        values = np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadMap("The drawn map is not a table of numbers with rows of one length.") from error
    if values.ndim != 2 or values.size == 0:
        raise BadMap("The drawn map must be a list of rows, each a list of numbers.")
    if not np.isfinite(values).all():
        raise BadMap("The drawn map holds values that are not finite.")
    return values


def _picture(name: str, folder: Folder) -> NDArray[np.float64]:
    try:
        path = folder.find(name)
        if path.stat().st_size > MAX_BYTES:
            raise BadMap("The drawn map's file is too large.")
        picture = open_picture(path.read_bytes())
    except (ValueError, OSError, BadImage) as error:
        raise BadMap(f"{name}: {error}") from error
    return np.asarray(picture.convert("RGB").convert("L"), dtype=np.float64)


def list_of(codes: Codes) -> list[list[int]]:
    """The drawn map as they write it: 1 important, 0 else; with unknown pixels as RES does: 1, 0 unknown, −1."""
    values = np.where(codes == IMPORTANT, 1, 0)
    if (codes == UNKNOWN).any():
        values = np.where(codes == UNIMPORTANT, -1, values)
    rows: list[list[int]] = values.tolist()
    return rows


def palette_png(codes: Codes) -> Pictures.Image:
    """Palette picture of the three values; important is painted white, the others black."""
    height, width = codes.shape
    picture = Pictures.frombytes("P", (width, height), np.ascontiguousarray(codes).tobytes())
    picture.putpalette([0, 0, 0, 255, 255, 255, 0, 0, 0])
    return picture
