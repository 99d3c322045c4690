"""Weights that were trained elsewhere, as a classifier of ours.

The process that serves pages never loads torch: what needs it (pickled checkpoints, and trying whether the
weights fit) runs in a process of its own; npz and safetensors can also be taken in by numpy alone.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.core.files import File
from django.db import transaction
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from mlcore.catalogue import ARCHITECTURES
from mlcore.exchange.readers import checked_classes, read_class_list
from mlcore.exchange.report import ImportRefused
from mlcore.models import AuditEntry, Classifier

PLAIN = (".npz", ".safetensors")
PICKLED = (".pt", ".pth", ".tar")
MAX_BYTES = 8 * 1024**3
PATIENCE = 600  # seconds

# Which layer gives the logits: the longest name that begins an architecture's. A test compares with the models.
HEADS = {
    "sixconv": "classifier",
    "alexnet": "classifier.6",
    "convnext": "classifier.2",
    "densenet": "classifier",
    "efficientnet": "classifier.1",
    "googlenet": "fc",
    "inception": "fc",
    "maxvit": "classifier.5",
    "mnasnet": "classifier.1",
    "mobilenet_v2": "classifier.1",
    "mobilenet_v3": "classifier.3",
    "regnet": "fc",
    "resnet": "fc",
    "resnext": "fc",
    "wide_resnet": "fc",
    "shufflenet": "fc",
    "squeezenet": "classifier.1",
    "swin": "head",
    "vgg": "classifier.6",
    "vit": "heads.head",
}


class WeightsRefused(ValueError):
    """The weights cannot be taken; the text is the sentence for the person."""


def import_classifier(
    path: Path,
    *,
    name: str,
    architecture: str,
    classes: Sequence[str] | Path | None = None,
    padding: str = "torch",
    owner: Any = None,
    transform: Mapping[str, Any] | None = None,
    check_fit: bool = True,
) -> Classifier:
    """Takes weights in as float32 safetensors.

    path: .safetensors or .npz with torchvision's names (half precision becomes float32), or a checkpoint (.pt, .pth,
        .pth.tar), which is read as weights only: a pickle that wants more is refused.
    classes: names in the order of the outputs, or a file that lists them; None names them 0, 1, 2, …
    padding: "tensorflow" for MobileNetV2 trained there.
    transform: how an image becomes the classifier's input (image_size, resize, normalise), where it is known.
    check_fit: build the classifier from the weights in a process of its own (some seconds). Without it only the
        number of classes is checked, and checkpoints are not taken.

    Raises WeightsRefused.
    """
    path = Path(path)
    if architecture not in ARCHITECTURES:
        raise WeightsRefused(f"“{architecture}” is neither a torchvision classifier nor sixconv.")
    if padding not in Classifier.Padding.values:
        raise WeightsRefused(f"Padding is one of {', '.join(Classifier.Padding.values)}, not “{padding}”.")
    if not name.strip():
        raise WeightsRefused("The classifier needs a name.")
    if not path.is_file():
        raise WeightsRefused(f"There is no file “{path.name}”.")
    if path.stat().st_size > MAX_BYTES:
        raise WeightsRefused(f"{path.name}: more than {MAX_BYTES / 1e9:.0f} GB are not taken.")
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "weights.safetensors"
        if check_fit:
            _convert_apart(path, plain, architecture, padding)
        else:
            _convert_here(path, plain)
        names = _class_names(classes, _outputs(plain, architecture, path.name), path.name)
        made = Classifier(
            name=name.strip(),
            owner=owner,
            architecture=architecture,
            classes=names,
            padding=padding,
            transform=dict(transform or {}),
            sha256=_sha256(plain),
        )
        return _keep(made, plain, owner)


def head_of(architecture: str) -> str:
    """Name of the layer that gives the logits."""
    known = [prefix for prefix in HEADS if architecture.startswith(prefix)]
    return HEADS[max(known, key=len)]


def _convert_apart(source: Path, target: Path, architecture: str, padding: str) -> None:
    command = [sys.executable, "-m", "mlcore.training.convert", str(source.resolve()), str(target)]
    command += ["--architecture", architecture, "--padding", padding]
    try:
        done = subprocess.run(  # noqa: S603 — our own module; paths are arguments, no shell
            command, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsRefused(f"{source.name}: reading the weights took more than {PATIENCE // 60} minutes.") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["the process ended without a word"])[-1]
        raise WeightsRefused(said if done.returncode == 1 else f"{source.name}: reading the weights failed ({said}).")


def _convert_here(source: Path, target: Path) -> None:
    suffix = source.suffix.lower()
    if suffix in PICKLED:
        raise WeightsRefused(
            f"{source.name}: a checkpoint of this kind is converted by “manage.py import_classifier”. "
            "Here, safetensors and npz are taken."
        )
    if suffix not in PLAIN:
        raise WeightsRefused(f"{source.name}: weights must be a file ending in {', '.join(PLAIN + PICKLED)}.")
    try:
        arrays = load_file(source) if suffix == ".safetensors" else _read_npz(source)
    except (SafetensorError, OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise WeightsRefused(f"{source.name}: the weights file is damaged or not of its kind ({said}).") from error
    state = {}
    for key, array in arrays.items():
        # Not ascontiguousarray: it would turn a counter without dimensions into a list of one.
        value = np.array(array, dtype=np.float32 if array.dtype.kind == "f" else array.dtype, order="C")
        if value.dtype.kind not in "fiub":
            raise WeightsRefused(f"{source.name}: {key} holds no numbers.")
        if not np.isfinite(value).all():
            raise WeightsRefused(f"{source.name}: {key} holds values that are not finite.")
        state[key.removeprefix("module.")] = value
    if not state:
        raise WeightsRefused(f"{source.name}: the file holds no weights.")
    save_file(state, target)


def _read_npz(source: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(source) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_BYTES / 1e9:.0f} GB")
    with np.load(source, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def _outputs(plain: Path, architecture: str, file: str) -> int:
    key = f"{head_of(architecture)}.weight"
    with safe_open(plain, framework="np") as weights:
        if key not in weights.keys():  # noqa: SIM118 — a handle, not a dictionary
            raise WeightsRefused(f"{file}: the weights do not fit {architecture}: {key} missing.")
        return int(weights.get_slice(key).get_shape()[0])


def _class_names(classes: Sequence[str] | Path | None, outputs: int, file: str) -> list[str]:
    if outputs < 2:
        raise WeightsRefused(f"{file}: the weights are for {outputs} class; a classifier has two or more.")
    if classes is None:
        return [str(index) for index in range(outputs)]
    try:
        names = read_class_list(classes) if isinstance(classes, Path) else checked_classes(classes, "classes")
    except ImportRefused as error:
        raise WeightsRefused(error.sentence) from error
    if len(names) != outputs:
        raise WeightsRefused(f"{file}: the weights are for {outputs} classes, the list names {len(names)}.")
    return names


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _keep(made: Classifier, plain: Path, owner: Any) -> Classifier:
    try:
        with transaction.atomic(), plain.open("rb") as stream:
            made.weights.save("weights.safetensors", File(stream), save=True)
            AuditEntry.write(
                owner,
                "import_classifier",
                made,
                after={"architecture": made.architecture, "classes": len(made.classes), "sha256": made.sha256},
            )
    except BaseException:
        if made.weights.name:
            made.weights.storage.delete(made.weights.name)
        raise
    return made
