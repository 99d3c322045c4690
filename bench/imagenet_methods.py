"""One table of all methods on ImageNet photographs with boxes: where they look, and what the classifier says of it.

    python -m bench.imagenet_methods [--images 400] [--perturbed 400] [--road 400]
        [--part boxes|asking|road] [--costly] [--minutes M] [--fresh] [--out PAGE]

SqueezeNet 1.1 and 400 validation images with their boxes, from the folder that HARMONY_TEST_DATA names. Part "boxes":
maps of the TRUE class against the boxes (pointing game, exact stochastic pointing game, content heat map). Parts
"asking" and "road": maps of the PREDICTED class by asking the classifier again (average drop and increase in confidence
at 100, 50 and 15 %, insertion, deletion; ROAD). Beside the methods stand a blob in the middle of every image and noise.

Values of each image are kept in HARMONY_VAR (or ./var) as they are found: an interrupted run goes on where it was,
--minutes ends one in time, and --part makes one part alone, so that processes can share the work; the tables are of
what there is. --fresh forgets them. --out writes the page.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mlcore.attribution import METHODS
from mlcore.catalogue import METHODS as METHOD_SPECS
from mlcore.metrics import make
from mlcore.metrics.base import Metric, boxes_to_mask, feed
from mlcore.metrics.inputs import IMAGENET
from mlcore.metrics.intervals import mean_interval
from mlcore.training.classifiers import build
from mlcore.training.vision import torchvision

SIDE, EDGE = 224, 1  # the middle of 227 × 227: one pixel goes above and left, two below and right
CHUNK = {"boxes": 20, "asking": 10, "road": 5}

PLAIN_CAM = "plain CAM"
OVER_IMAGES = " over images"

# Methods with their options, in the order in which they are measured: a run cut short still has the quick ones whole.
QUICK: dict[str, dict[str, Any]] = {
    "centre": {},
    "random": {},
    PLAIN_CAM: {"relu": False},
    "grad_cam": {},
    "hires_cam": {},
    "grad_cam_pp": {},
    "layer_cam": {},
    "guided_backprop": {},
    "guided_grad_cam": {},
    "input_x_gradient": {},
    "lrp": {},
    "excitation_backprop": {},
}
SLOW: dict[str, dict[str, Any]] = {"integrated_gradients": {"steps": 16}, "smooth_grad": {"samples": 10}}
COSTLY: dict[str, dict[str, Any]] = {"rise": {"masks": 1000}, "score_cam": {}}

AGAINST_BOXES: dict[str, dict[str, Any]] = {"pointing": {}, "stochastic_pointing": {}, "content_heat_map": {}}
SHARES = (100, 50, 15)  # %, of average drop and increase in confidence
ASKING: dict[str, dict[str, Any]] = {
    **{f"average_drop{'' if share == 100 else f'_{share}'}": {} for share in SHARES},
    **{f"increase_in_confidence{'' if share == 100 else f'_{share}'}": {} for share in SHARES},
    "insertion": {"steps": 10},
    "deletion": {"steps": 10},
}
REMOVING: dict[str, dict[str, Any]] = {"road": {}}  # by far the dearest: a part of its own
METRICS = AGAINST_BOXES | ASKING | REMOVING
PARTS = {"boxes": AGAINST_BOXES, "asking": ASKING, "road": REMOVING}
HEADS = {
    "pointing": "pointing game, % ↑",
    "pointing over images": "… over images, % ↑",
    "stochastic_pointing": "stochastic pointing game, % ↑",
    "content_heat_map": "content heat map, % ↑",
    "insertion": "insertion ↑",
    "deletion": "deletion ↓",
    "road": "ROAD ↑",
}


@dataclass
class Photographs:
    """Names, true classes and boxes as masks (224, 224); pixels are read when they are needed."""

    folder: Path
    names: list[str]
    labels: dict[str, int]
    masks: dict[str, Tensor]
    predicted: dict[str, int] = field(default_factory=dict)

    def inputs(self, names: list[str]) -> Tensor:
        """(B, 3, 224, 224), normalised."""
        window = slice(EDGE, EDGE + SIDE)
        pictures = []
        for name in names:
            with Image.open(self.folder / "images" / name) as picture:
                pictures.append(np.asarray(picture.convert("RGB"), dtype=np.float32)[window, window] / 255)
        return IMAGENET.from_unit(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))


def photographs(folder: Path, count: int) -> Photographs:
    """The first `count` by name."""
    with (folder / "labels.csv").open(newline="") as handle:
        labels = {row["file"]: int(row["label"]) for row in csv.DictReader(handle)}
    boxes: dict[str, list[list[float]]] = {}
    with (folder / "boxes.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            boxes.setdefault(row["file"], []).append([float(row[key]) - EDGE for key in ("x0", "y0", "x1", "y1")])
    names = sorted(labels)[:count]
    masks = {name: boxes_to_mask(boxes[name], SIDE, SIDE) for name in names}
    return Photographs(folder, names, labels, masks)


class Kept:
    """Values of one method in one part, image by image, in a file that a later run reads; other options start afresh.

    values: metric → image → a number, or the reason why there is none.
    """

    def __init__(self, folder: Path, part: str, method: str, options: dict[str, Any]) -> None:
        self.path = folder / f"{method.replace(' ', '_')}.{part}.json"
        self.part, self.method, self.given = part, method, options
        self.metrics = list(PARTS[part])
        self.options = {"method": options, "metrics": PARTS[part]}
        self.values: dict[str, dict[str, float | str]] = {}
        if self.path.is_file():
            found = json.loads(self.path.read_text())
            if found["options"] == json.loads(json.dumps(self.options)):
                self.values = found["values"]

    def missing(self, names: list[str]) -> list[str]:
        """Images that some of the metrics have not seen."""
        return [name for name in names if any(name not in self.values.get(metric, {}) for metric in self.metrics)]

    def take(self, metrics: dict[str, Metric]) -> None:
        """Written whole or not at all."""
        for name, metric in metrics.items():
            mine = self.values.setdefault(name, {})
            mine.update(metric.per_image)
            mine.update({image: reason for reason, images in metric.left_out.items() for image in images})
        fresh = self.path.with_suffix(".part")
        fresh.write_text(json.dumps({"options": self.options, "values": self.values}))
        fresh.replace(self.path)

    def metric(self, name: str, pictures: Photographs, model: nn.Module) -> Metric:
        """The metric as if it had just seen these images."""
        metric = new(name, model)
        if name == "pointing":
            metric.classes = {image: pictures.labels[image] for image in pictures.names}
        for image in pictures.names:
            value = self.values.get(name, {}).get(image)
            if isinstance(value, str):
                metric.leave_out(image, value)
            elif value is not None:
                metric.record(image, value)
        return metric


class Remembering(nn.Module):
    """The classifier, which answers a question that it has just been asked without computing it again: average drop
    and increase in confidence look at the same parts of the same images."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.answers: dict[bytes, Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:
        question = blake2b(images.contiguous().numpy().tobytes()).digest()
        if question not in self.answers:
            self.answers = dict(list(self.answers.items())[-3:])
            self.answers[question] = self.model(images)
        return self.answers[question]


def new(name: str, model: nn.Module) -> Any:
    return make(name, model=model, **METRICS[name])


def predict(model: nn.Module, pictures: Photographs) -> None:
    for start in range(0, len(pictures.names), 50):
        names = pictures.names[start : start + 50]
        with torch.inference_mode():
            pictures.predicted |= dict(zip(names, model(pictures.inputs(names)).argmax(dim=1).tolist(), strict=True))


def chunks(names: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]


def measure(
    model: nn.Module, pictures: Photographs, group: list[Kept], targets: dict[str, int], names: list[str], until: float
) -> bool:
    """Some methods of one part on a few images, then on the next few; False where the time is over before the end."""
    asked_again = Remembering(model).eval()
    for part in chunks(names, CHUNK[group[0].part]):
        for kept in group:
            wanted = kept.missing(part)
            if not wanted:
                continue
            if time.monotonic() > until:
                return False
            method = METHODS["grad_cam" if kept.method == PLAIN_CAM else kept.method](model, **kept.given)
            images, classes = pictures.inputs(wanted), torch.tensor([targets[image] for image in wanted])
            batch = {
                "maps": method.explain(images, classes, internal_batch_size=10),
                "images": images,
                "targets": classes,
                "masks": [pictures.masks[image] for image in wanted],
                "classes": classes,
                "names": wanted,
            }
            # In this order what one metric asks is what the one before it has asked.
            order = sorted(kept.metrics, key=lambda name: (name.rsplit("_", 1)[-1].isdigit(), name.rsplit("_", 1)[-1]))
            judged = {metric: new(metric, asked_again) for metric in order}
            for metric in judged.values():
                feed(metric, batch)
            kept.take(judged)
            print(f"{kept.part}: {kept.method}, {len(wanted)} images from {part[0]}", file=sys.stderr, flush=True)
    return True


def cell(value: float | None, interval: tuple[float, float] | None, scale: float, digits: int) -> str:
    if value is None:
        return "–"
    if interval is None:
        return f"{value * scale:.{digits}f}"
    low, high = interval
    return f"{value * scale:.{digits}f} ({low * scale:.{digits}f}–{high * scale:.{digits}f})"


def title(name: str) -> str:
    return "CAM without ReLU" if name == PLAIN_CAM else METHOD_SPECS[name].title


def table(columns: dict[str, tuple[str, float, int]], rows: dict[str, dict[str, Metric]]) -> list[str]:
    """Markdown; columns: metric → (head, scale, digits). Value with its 95 % interval over images."""
    lines = [
        "| method | images | " + " | ".join(head for head, _, _ in columns.values()) + " |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for name, metrics in rows.items():
        cells = []
        for column, (_, scale, digits) in columns.items():
            metric = metrics[column.removesuffix(OVER_IMAGES)]
            if column.endswith(OVER_IMAGES):
                found = list(metric.per_image.values())
                cells.append(cell(sum(found) / len(found) if found else None, mean_interval(found), scale, digits))
            else:
                cells.append(cell(metric.mean(), metric.interval(), scale, digits))
        lines.append(f"| {title(name)} | {counts({name: metrics})} | " + " | ".join(cells) + " |")
    return lines


def left_out(rows: dict[str, dict[str, Metric]]) -> list[str]:
    lines = []
    for name, metrics in rows.items():
        reasons: dict[str, list[str]] = {}
        for metric, judged in metrics.items():
            for reason, images in judged.left_out.items():
                reasons.setdefault(f"{len(images)} × {reason}", []).append(metric)
        lines += [f"- {title(name)}: {what} ({', '.join(which)})" for what, which in reasons.items()]
    return lines or ["- nothing"]


def counts(rows: dict[str, dict[str, Metric]]) -> str:
    found = sorted({len(metric.per_image) for metrics in rows.values() for metric in metrics.values()})
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def page(model: nn.Module, pictures: Photographs, kept: list[Kept], command: str) -> str:
    def rows(part: str) -> dict[str, dict[str, Metric]]:
        return {
            one.method: {metric: one.metric(metric, pictures, model) for metric in one.metrics}
            for one in kept
            if one.part == part and one.values
        }

    boxes, asking, road = rows("boxes"), rows("asking"), rows("road")
    right = sum(pictures.predicted[name] == pictures.labels[name] for name in pictures.names)
    chosen = {one.method: one.given for one in kept if one.given and one.method != PLAIN_CAM}
    options = "; ".join(
        f"{title(name)}: {', '.join(f'{value} {key}' for key, value in given.items())}"
        for name, given in chosen.items()
    )
    versions = f"torch {torch.__version__.split('+')[0]}, torchvision {torchvision.__version__.split('+')[0]}"
    steps = ASKING["insertion"]["steps"]
    parts = [
        "# Methods on ImageNet photographs",
        f"    {command}",
        f"""SqueezeNet 1.1 trained on ImageNet, and {len(pictures.names)} images of ImageNet's validation part
(ILSVRC 2012) with the boxes of their class. The images were squashed to 227 × 227; the classifier reads the middle
224 × 224, and maps, boxes and the 15 px of the pointing games are measured in that window, not at the photographs'
first size. The classifier is right on {100 * right / len(pictures.names):.1f} %. Every value has its 95 % interval over
images (Student's t; the pointing game over classes: bootstrap). The two baselines look at no classifier. Objects stand
in the middle: read every figure beside the first row.""",
        f"Options other than the defaults: {options}. {versions}, Python {platform.python_version()}, CPU.",
    ]
    if boxes:
        heads = {name: (HEADS[name], 100.0, 1) for name in HEADS if name.removesuffix(OVER_IMAGES) in AGAINST_BOXES}
        parts += [
            "## Maps of the true class against its boxes",
            f"""{counts(boxes)} images a figure. The pointing game is a mean over the classes present (its definition);
beside it stands the mean over images. A CAM's maximum is the same with and without its ReLU, but for maps that are
nowhere positive: these are left out with it.""",
            "\n".join(table(heads, boxes)),
        ]
    if asking:
        confidence = {name: (confidence_head(name), 1.0, 1) for name in ASKING if name.startswith(("average", "incr"))}
        areas = {name: (HEADS[name], 1.0, 3) for name in ("insertion", "deletion")}
        parts += [
            "## Maps of the predicted class, by asking the classifier again",
            f"""{counts(asking)} images a figure, the first by name. Insertion and deletion take {steps} steps
(published: one row of pixels a step) and are areas under the predicted class's probability.""",
            "\n".join(table(confidence, asking)),
            "\n".join(table(areas, asking)),
        ]
    if road:
        parts += [
            "## ROAD",
            f"""{counts(road)} images a figure, the first by name; maps of the predicted class. The share of ten
removals, 5 to 86 % of the pixels, that change the prediction.""",
            "\n".join(table({"road": (HEADS["road"], 1.0, 3)}, road)),
        ]
    found = [boxes, asking, road]
    together = {one.method: {k: v for part in found for k, v in part.get(one.method, {}).items()} for one in kept}
    parts += ["## Left out", "Images that a metric cannot judge are counted here and enter no mean:"]
    return "\n\n".join([*parts, "\n".join(left_out(together))]) + "\n"


def confidence_head(name: str) -> str:
    """Of a column: "average_drop_50" → "average drop, 50 % kept, % ↓"."""
    share = name.rsplit("_", 1)[-1] if name[-1].isdigit() else "100"
    drop = name.startswith("average")
    return f"{'average drop' if drop else 'increase in confidence'}, {share} % kept, % {'↓' if drop else '↑'}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400, help="how many, the first by name")
    parser.add_argument("--perturbed", type=int, default=400, help="how many of them to ask the classifier about again")
    parser.add_argument("--road", type=int, default=400, help="how many of them for ROAD")
    parser.add_argument(
        "--part", choices=tuple(PARTS), help="make this part alone; the page shows what there is of all"
    )
    parser.add_argument("--costly", action="store_true", help="RISE and Score-CAM too")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop in time; the next run goes on")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs found")
    parser.add_argument("--out", type=Path, help="the page to write")
    options = parser.parse_args(arguments)
    data = Path(os.environ.get("HARMONY_TEST_DATA", ""))
    if not (data / "imagenet_val").is_dir():
        print("HARMONY_TEST_DATA must name a folder with imagenet_val and weights.", file=sys.stderr)
        return 2
    until = time.monotonic() + options.minutes * 60
    folder = Path(os.environ.get("HARMONY_VAR", "var")) / "imagenet-methods"
    folder.mkdir(parents=True, exist_ok=True)
    if options.fresh:
        for path in folder.glob("*.json"):
            path.unlink()
    model = build("squeezenet1_1", 1000, weights=data / "weights" / "squeezenet1_1_imagenet.npz").eval()
    pictures = photographs(data / "imagenet_val", options.images)
    predict(model, pictures)
    kept, done = [], True
    for part in PARTS:
        targets = pictures.labels if part == "boxes" else pictures.predicted
        count = {"boxes": options.images, "asking": options.perturbed, "road": options.road}[part]
        for methods in (QUICK, SLOW, *([COSTLY] if options.costly else [])):
            # Without its ReLU a CAM differs below zero alone, which no other metric looks at.
            wanted = [name for name in methods if part == "boxes" or name != PLAIN_CAM]
            group = [Kept(folder, part, name, methods[name]) for name in wanted]
            kept += group
            if done and options.part in (None, part):
                done = measure(model, pictures, group, targets, pictures.names[:count], until)
    costly = ["--costly"] if options.costly else []
    command = ["python", "-m", "bench.imagenet_methods", *costly, "--images", str(options.images), "--out", "PAGE"]
    text = page(model, pictures, kept, shlex.join(command))
    if options.out:
        options.out.write_text(text)
    print(text)
    if not done:
        print("The time was over before the end; the same command goes on.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
