"""Short questions about classifiers, answered in memory: which layers there are, what it looks at in a picture, and
which other pictures that one looks like."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlcore.attribution.inspect_layers import suggested_layers, usable_layers
from mlcore.attribution.maps import status
from mlcore.catalogue.methods import METHODS
from mlcore.training.classifiers import build
from mlcore.training.data import to_input
from mlcore.training.errors import JobError
from mlcore.training.explain import Chooser, Rule, method_of
from mlcore.training.job import ClassifierSpec, Item, classifier_spec
from mlcore.training.machine import Machine, fix_randomness, prepare
from mlcore.training.match_question import Matching, Query
from mlcore.training.pictures import Geometry, load_frame, size_of

KEPT = 3  # classifiers in memory
METHODS_KEPT = 4  # of each of them
TOP = 5


class Kept:
    """A classifier on its device, with the methods that it was last explained by."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._methods: OrderedDict[str, Any] = OrderedDict()

    def method(self, name: str, options: Mapping[str, Any]) -> Any:
        """The method with these options; made once. Raises JobError where it refuses them."""
        key = json.dumps([name, dict(options)], sort_keys=True, default=str)
        if key not in self._methods:
            self._methods[key] = method_of(name, self.model, dict(options))
            while len(self._methods) > METHODS_KEPT:
                self._methods.popitem(last=False)
        self._methods.move_to_end(key)
        return self._methods[key]


class Answerer:
    """Answers questions one after another and keeps the classifiers that were asked last.

    device: "auto", "cpu", "cuda", …; chosen with the first question that computes.
    """

    def __init__(self, device: str = "auto") -> None:
        self._device = device
        self._machine: Machine | None = None
        self._kept: OrderedDict[tuple[Any, ...], Kept] = OrderedDict()
        self._kinds: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "layers": layers,
            "mask": self.mask,
            "match": self.match,
        }
        self._matching = Matching()

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's fields. Raises ValueError (JobError) with one sentence."""
        kind = question.get("kind")
        if kind not in self._kinds:
            raise JobError(f"A question is of the kind {' or '.join(self._kinds)}, not “{kind}”.")
        if not isinstance(question.get("classifier"), Mapping):
            raise JobError("The question names no classifier.")
        return self._kinds[kind](question)

    def mask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """What the classifier says of a picture, and the map of one class.

        "label": the class that is explained; left out or null: the one the classifier says. Pictures are read exactly
        as a run reads them, so the map is the one that an explanation run would store.

        Gives "label" and its "confidence"; "predictions", the first five with theirs; "map" (h, w) as lists, "status"
        ("ok", "constant", "nonfinite": what is not finite is 0 in the map); "picture" (width, height) and "window"
        (left, top, right, bottom), the part of the picture, in its pixels, that the classifier saw.
        """
        spec = classifier_spec(question["classifier"])
        name, label = str(question.get("method") or "grad_cam"), question.get("label")
        if label is not None and not (isinstance(label, int) and 0 <= label < spec.num_classes):
            raise JobError(f"The classifier has the classes 0 to {spec.num_classes - 1}; there is no class {label}.")
        kept, query = self._looks(spec, question)
        method = kept.method(name, question.get("options") or {})
        chooser = Chooser(Rule("predicted" if label is None else "given", label or 0), torch.tensor([-1]))
        maps = _maps(name, method, kept.model, query.images, chooser)
        assert chooser.logits is not None and chooser.chosen is not None  # noqa: PT018
        shares = chooser.logits[0].softmax(dim=0).cpu()
        chosen = int(chooser.chosen[0])
        first = shares.topk(min(TOP, len(shares)))
        return {
            "label": chosen,
            "confidence": float(shares[chosen]),
            "predictions": [
                {"label": each, "confidence": share}
                for each, share in zip(first.indices.tolist(), first.values.tolist(), strict=True)
            ],
            "map": maps[0].nan_to_num(0.0, 0.0, 0.0).tolist(),
            "status": status(maps)[0],
            "picture": list(size_of(query.path)),
            "window": list(query.geometry.window(size_of(query.path))),
            "device": str(query.images.device),
        }

    def match(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """A picture beside those of a gallery that it looks like: see `mlcore.training.match_question.Matching`."""
        if not isinstance(question.get("gallery"), Mapping):
            raise JobError("The question names no gallery.")
        kept, query = self._looks(classifier_spec(question["classifier"]), question)
        return self._matching.answer(question, kept.model, query)

    def _looks(self, spec: ClassifierSpec, question: Mapping[str, Any]) -> tuple[Kept, Query]:
        """The classifier, and the question's picture as it sees it. Raises JobError."""
        path = Path(str(question.get("picture") or ""))
        if not path.is_file():
            raise JobError(f"The picture {path.name} does not exist.")
        transform = question.get("transform") or {}
        geometry = Geometry(int(transform.get("image_size", 224)), str(transform.get("resize", "squash")))
        image = _image(path, geometry)
        kept = self.kept(spec)
        assert self._machine is not None
        fix_randomness(0)
        images = to_input(image.to(self._machine.device), str(transform.get("normalise", "imagenet")))
        return kept, Query(path, images, geometry)

    def kept(self, spec: ClassifierSpec) -> Kept:
        """The classifier in eval mode on the device; from memory where it was asked before. Raises JobError."""
        self._machine = self._machine or prepare(self._device)
        changed = _changed(spec.weights)
        key = (spec.architecture, spec.num_classes, spec.weights, spec.padding, changed)
        if key not in self._kept:
            try:
                model = build(spec.architecture, spec.num_classes, weights=spec.weights, padding=spec.padding)
            except ValueError as error:
                raise JobError(str(error)) from error
            while len(self._kept) >= KEPT:  # before the new one is moved: the device may have no room for one more
                self._kept.popitem(last=False)
            self._kept[key] = Kept(model.to(self._machine.device).eval())
        self._kept.move_to_end(key)
        return self._kept[key]


def layers(question: Mapping[str, Any]) -> dict[str, Any]:
    """Every layer that a map can be taken from: name, type, channels, height, width, and who starts with it.

    Only shapes are computed: no weights are read, and the largest classifier takes seconds.
    """
    spec = classifier_spec(question["classifier"])
    size = int(question.get("image_size") or 224)
    try:
        model = _empty(spec)
    except ValueError as error:
        raise JobError(str(error)) from error
    found = usable_layers(model, size)
    suggested = suggested_layers(model, found)
    return {
        "image_size": size,
        "layers": [
            {
                "name": layer.name,
                "type": layer.type,
                "channels": layer.channels,
                "height": layer.height,
                "width": layer.width,
                "suggested": [method for method, names in suggested.items() if layer.name in names],
            }
            for layer in found
        ],
        "suggested": {method: list(names) for method, names in suggested.items()},
    }


def _empty(spec: ClassifierSpec) -> nn.Module:
    try:
        with torch.device("meta"):
            return build(spec.architecture, spec.num_classes, padding=spec.padding)
    except NotImplementedError:  # RegNet counts with tensors while it is built
        return build(spec.architecture, spec.num_classes, padding=spec.padding).to("meta")


def _image(path: Path, geometry: Geometry) -> Tensor:
    """(1, S, S, 3) bytes, cut in the middle as a run's batches are."""
    frame = load_frame(Item(id=path.name, path=str(path), label=None), geometry, supervision="none", reference=False)
    height, width = frame.image.shape[:2]
    left, top = geometry.centre((width, height))
    cut = frame.image[top : top + geometry.size, left : left + geometry.size]
    return torch.from_numpy(cut.copy())[None]


def _maps(name: str, method: Any, model: nn.Module, images: Tensor, chooser: Chooser) -> Tensor:
    """The map (1, h, w) on the CPU; the chooser has seen the class scores afterwards."""
    title = METHODS[name].title
    try:
        if METHODS[name].class_specific:
            found = method.explain(images, chooser)
            chooser.ask(model, images)
        else:
            found = method.explain(images, chooser.ask(model, images))
    except ValueError as error:
        raise JobError(f"{title}: {error}") from error
    return found.float().cpu()


def _changed(weights: str | None) -> tuple[int, int] | None:
    """When and how large the file of weights was written: another file of the same name is another classifier."""
    if weights is None:
        return None
    try:
        found = Path(weights).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
