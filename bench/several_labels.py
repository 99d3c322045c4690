"""A small set of pictures with several labels each, to watch a run on one (docs/multi-label.md).

    HARMONY_TEST_DATA=... python -m bench.several_labels FOLDER [--side 160] [--seed 0]

The Leeds butterflies, one to three species a picture, each photograph in a quarter of its own; the other quarters are
plain grey. FOLDER gets images/, COCO's instances.json (a box of the mask for each butterfly) and splits.csv. A
photograph is in pictures of one part alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COUNTS = {"train": 300, "validation": 100, "test": 200}
PARTS = tuple(COUNTS)
GREY = (124, 116, 104)  # ImageNet's mean


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = Path(os.environ.get("HARMONY_TEST_DATA", "")) / "butterflies"
    if not data.is_dir():
        sys.exit("HARMONY_TEST_DATA does not name a folder with the butterflies.")
    write(arguments.folder, data, side=arguments.side, seed=arguments.seed)


def write(folder: Path, data: Path, *, side: int, seed: int) -> None:
    """The whole set; the same for the same side and seed."""
    rng = np.random.default_rng(seed)
    with (data / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: row["file"])
    names = {int(row["label"]): row["class"] for row in rows}
    shares = [COUNTS[part] / sum(COUNTS.values()) for part in PARTS]
    owner = rng.choice(len(PARTS), size=len(rows), p=shares)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, part in enumerate(PARTS):
        own = [row for row, mine in zip(rows, owner.tolist(), strict=True) if mine == number]
        for index in range(COUNTS[part]):
            name = f"{part}-{index:03d}.png"
            picture = Image.new("RGB", (side, side), GREY)
            images.append({"id": len(images) + 1, "file_name": name, "width": side, "height": side})
            species = rng.choice(list(names), size=int(rng.integers(1, 4)), replace=False).tolist()
            for quarter, one in zip(rng.permutation(4).tolist(), species, strict=False):
                row = rng.choice([row for row in own if int(row["label"]) == one])
                left, top = quarter % 2 * side // 2, quarter // 2 * side // 2
                picture.paste(_small(data / "images" / row["file"], side // 2), (left, top))
                box = _box(data / "masks" / f"{Path(row['file']).stem}.png", side // 2)
                annotations.append({
                    "id": len(annotations) + 1, "image_id": len(images), "category_id": one + 1, "iscrowd": 0,
                    "bbox": [left + box[0], top + box[1], box[2] - box[0], box[3] - box[1]],
                })  # fmt: skip
            picture.save(folder / "images" / name)
    categories = [{"id": label + 1, "name": name} for label, name in sorted(names.items())]
    told = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(told), encoding="utf-8")
    with (folder / "splits.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "split"])
        writer.writerows([image["file_name"], image["file_name"].split("-")[0]] for image in images)
    print(f"{folder}: {len(images)} pictures, {len(annotations)} butterflies.")


def _small(path: Path, side: int) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)


def _box(path: Path, side: int) -> tuple[int, int, int, int]:
    with Image.open(path) as mask:
        found = mask.convert("L").resize((side, side), Image.Resampling.NEAREST).getbbox()
    return found or (0, 0, side, side)


if __name__ == "__main__":
    main()
