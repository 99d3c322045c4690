"""Methods that send relevance from a class score back to the pictures, rule by rule (definitions §1)."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mlcore.attribution.base import Attribution, Targets, class_scores, resolve_targets
from mlcore.attribution.layers import canonical, capture, find_layer, unwrap
from mlcore.attribution.maps import upsample
from mlcore.attribution.relevance_rules import RULES, How, Step, Strands, no_rule
from mlcore.attribution.tape import Call, Tape

HARMONY_SIZE = (224, 224)


class RelevanceMethod(Attribution):
    """LRP, excitation backpropagation: one forward pass on a tape, then the rules from its end to its start.

    model: a convolutional classifier (B, 3, H, W) → (B, K), also inside a DistributedDataParallel wrapper.
    layer: name of the module at whose output relevance is read; empty: at the picture.
    preset: "harmony": R(z ⊙ one-hot)/(Σ|·| + 1e-9) − R(z)/(Σ|·| + 1e-9), z the class scores, each divided over
        channels and cells, then summed over channels, clamped at 0, bilinear to 224×224.

    Maps are sums over channels, (B, H, W) at the picture's or the layer's size. They can be differentiated by the
    model's parameters exactly, in second order too. An image whose class scores are not finite gets a map of NaN.

    Raises ValueError for an unknown layer or preset, and for an operation that has no rule.
    """

    def __init__(self, model: nn.Module, *, layer: str | None = "", preset: str = "default") -> None:
        super().__init__(model)
        if preset not in ("default", "harmony"):
            raise ValueError(f"{type(self).__name__} has the presets default and harmony, not “{preset}”.")
        self.layer = canonical(layer or "")
        if self.layer:
            find_layer(model, self.layer)
        self.preset = preset

    @abstractmethod
    def how(self, *, keep: bool = False) -> How:
        """The rules that this method takes. keep: relevance stays in the graph."""

    @abstractmethod
    def start(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Relevance (B, K) of the class scores (B, K) for the targets (B,)."""

    def forward(self, images: Tensor, targets: Targets, *, create_graph: bool, **options: Any) -> tuple[Tensor, Tensor]:
        """Logits (B, K), the model's own, and maps (B, h, w) of one shared forward pass, in its current mode.

        create_graph: the maps can be differentiated by the model's parameters; False gives them detached.
        """
        recording = torch.is_grad_enabled()
        logits, maps = self._run(images, targets, keep=create_graph and recording)
        if maps.dim() == 4:
            raise ValueError("One class for each image can be trained through at once.")
        return logits, maps if create_graph and recording else maps.detach()

    def _explain(self, images: Tensor, targets: Targets) -> Tensor:
        return self._run(images, targets, keep=False)[1]

    def _explain_several(self, images: Tensor, targets: Tensor) -> Tensor:
        return self._explain(images, targets)

    def _run(self, images: Tensor, targets: Targets, *, keep: bool) -> tuple[Tensor, Tensor]:
        how = self.how(keep=keep)
        tape, logits, end, beginning, shape = self._record(images, how)
        chosen = resolve_targets(logits, targets)
        with torch.autocast(images.device.type, enabled=False):
            scores = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
            if not keep:
                scores = scores.detach()
            columns = chosen[:, None] if chosen.dim() == 1 else chosen
            strands = self._strands(scores, columns)
            found = propagate(tape, end, strands, beginning, how)
            found = [relevance.expand(shape) for relevance in found]  # a batch of none, or a layer off the way
            maps = torch.stack(self._maps(found), dim=1)
            finite = torch.isfinite(scores.detach()).all(dim=1)[:, None, None, None]
            maps = torch.where(finite, maps, torch.nan)
        return logits, maps[:, 0] if chosen.dim() == 1 else maps

    def _strands(self, scores: Tensor, columns: Tensor) -> Strands:
        if self.preset == "default":
            return [self.start(scores, column) for column in columns.unbind(1)]
        return [*(only(scores, column) for column in columns.unbind(1)), scores]

    def _maps(self, found: Strands) -> Strands:
        if self.preset == "default":
            return [relevance.sum(dim=1) for relevance in found]
        *own, whole = [r / (r.abs().sum(dim=(1, 2, 3), keepdim=True) + 1e-9) for r in found]
        return [upsample((r - whole).sum(dim=1).clamp(min=0), HARMONY_SIZE) for r in own]

    def _record(self, images: Tensor, how: How) -> tuple[Tape, Tensor, int, int, torch.Size]:
        """The tape, the logits and their slot, the slot where relevance is read and its tensor's shape."""
        model = self.model.module if isinstance(self.model, nn.DataParallel) else self.model
        pictures = images.clone() if images.is_inference() else images
        tape = Tape(pictures)
        with ExitStack() as stack:
            inner = stack.enter_context(_output_of(unwrap(model)))
            read = stack.enter_context(capture(model, self.layer)) if self.layer else None
            stack.enter_context(tape)
            logits = class_scores(tape.current(model(pictures)))
        end = tape.slot(class_scores(tape.current(inner[-1])))
        where = read.output if read else pictures
        beginning = tape.slot(where)
        if end is None or beginning is None:
            raise ValueError(
                f"{how.title} cannot follow the forward pass of {type(unwrap(model)).__name__}: "
                "it leaves the operations that PyTorch shows."
            )
        tape.forget()
        return tape, logits, end, beginning, where.shape


def propagate(tape: Tape, end: int, strands: Strands, beginning: int, how: How) -> Strands:
    """Relevance at slot `beginning` from `strands` at slot `end`, down the tape.

    Without `how.keep` the tape is used up: values go as soon as nothing needs them.
    Raises ValueError where relevance reaches an operation without a rule.
    """
    steps = list(_steps(tape.calls))
    if not how.keep:
        tape.calls = []
    arrived: dict[int, Strands] = {end: strands}
    while steps:
        step = steps.pop()
        call = step.call
        if beginning in call.outputs:
            break
        incoming = [arrived.pop(slot, None) for slot in call.outputs]
        if all(entry is None for entry in incoming):
            continue
        rule = RULES.get(call.name)
        if rule is None:
            raise no_rule(call.name, how)
        for slot, found in zip(call.slots, rule(step, incoming, how), strict=True):
            if found is not None:
                before = arrived.get(slot)
                arrived[slot] = found if before is None else [a + b for a, b in zip(before, found, strict=True)]
    return arrived.get(beginning) or [strand.new_zeros(()) for strand in strands]


def _steps(calls: list[Call]) -> Iterator[Step]:
    """The calls, each batch normalisation given to the layer before it where that layer feeds nothing else."""
    users = Counter(slot for call in calls for slot in call.slots)
    maker = {slot: index for index, call in enumerate(calls) for slot in call.outputs if slot >= 0}
    norms: dict[int, Call] = {}
    for call in calls:
        if call.name != "batch_norm" or len(call.slots) != 1:
            continue
        slot = call.slots[0]
        while slot in maker and calls[maker[slot]].name in ("clone", "contiguous") and users[slot] == 1:
            slot = calls[maker[slot]].slots[0]
        if slot in maker and users[slot] == 1 and calls[maker[slot]].name in ("conv1d", "conv2d", "conv3d", "linear"):
            norms[maker[slot]] = call
    for index, call in enumerate(calls):
        origins = tuple(calls[maker[slot]].name if slot in maker else "" for slot in call.slots)
        yield Step(call, norms.get(index), origins)


def only(logits: Tensor, targets: Tensor) -> Tensor:
    """z ⊙ one-hot: the class scores (B, K) with all but the targets' (B,) at zero."""
    return torch.zeros_like(logits).scatter(1, targets[:, None], logits.gather(1, targets[:, None]))


@contextmanager
def _output_of(model: nn.Module) -> Iterator[list[Any]]:
    """What the classifier itself gives: a wrapper may hand on another tensor. The hook goes even on error."""
    found: list[Any] = []
    handle = model.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    try:
        yield found
    finally:
        handle.remove()
