"""The forward pass of a classifier written down call by call, so that relevance can be sent back along it.

Nothing is hooked into the classifier and nothing in it is changed: a mode of PyTorch sees every call, functional
ones too. The values keep their ordinary graph. That is why relevance that is passed down the tape by
differentiable operations has exact derivatives by the parameters, which a changed backward pass has not: the
values that relevance depends on would then be differentiated by the changed rule as well.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

# Called in place by their names; what they do is not a change of values.
_KEEP_VALUES = frozenset({"requires_grad_", "share_memory_"})
_ASSIGNMENTS = frozenset({"__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__"})
# What comes out of them is a constant to the classifier's own gradient, so to relevance too.
_CUTS = frozenset({"detach", "data"})


class OutOfPlace(TorchFunctionMode):
    """Operations that `rewrites` names run out of place; later calls that mean the old tensor get the new one.

    A view that was taken before an operation in place keeps the old values.
    """

    def __init__(self) -> None:
        super().__init__()
        self._newer: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}

    def rewrites(self, name: str, target: object) -> bool:
        """Whether an operation in place, called by `name` without its last underscore, is to run out of place."""
        raise NotImplementedError

    def call(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one call of the classifier."""
        raise NotImplementedError

    def current(self, value: Any) -> Any:
        """`value`, or what took the place of it since."""
        if isinstance(value, Tensor) and id(value) in self._newer:
            reference, newer = self._newer[id(value)]
            if reference() is value:
                return self.current(newer)
        return value

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, changes = _name(func), False
        if self._newer:
            held = args[0] if args else None
            args, kwargs = map_tensors(args, self.current), map_tensors(kwargs or {}, self.current)
        else:
            held, kwargs = (args[0] if args else None), dict(kwargs or {})
        if name in _ASSIGNMENTS or (name.endswith("_") and not name.endswith("__") and name not in _KEEP_VALUES):
            changes, run = True, _on_a_copy(func)
            name = name if name in _ASSIGNMENTS else name.removesuffix("_")
        else:
            run = func
            changes = kwargs.get("inplace") is True
        if not changes or not self.rewrites(name, args[0] if args else None):
            return self.call(name, func, args, kwargs)
        if "inplace" in kwargs:
            kwargs["inplace"] = False
        result = self.call(name, run, args, kwargs)
        for old in (held, args[0]):
            if isinstance(old, Tensor) and old is not result:
                self._newer[id(old)] = (weakref.ref(old), result)
        return result


@dataclass(frozen=True)
class Input:
    """Stands in a call's arguments where the tape's tensor number `position` of the call was."""

    position: int


@dataclass
class Call:
    """One operation. `inputs` are its tensors on the tape in the order of `slots`; `outputs` are slots too."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: list[Tensor]
    slots: list[int]
    outputs: list[int]

    def arguments(self, inputs: list[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the function was called with, `inputs` in place of the tape's tensors."""

        def fill(value: Any) -> Any:
            if isinstance(value, Input):
                return inputs[value.position]
            if isinstance(value, tuple | list):
                return type(value)([fill(item) for item in value])
            return value

        return fill(self.args), {key: fill(value) for key, value in self.kwargs.items()}

    def run(self, inputs: list[Tensor]) -> Any:
        """The operation once more, with other values."""
        args, kwargs = self.arguments(inputs)
        return self.function(*args, **kwargs)


class Tape(OutOfPlace):
    """Every call between `images` and what the classifier makes of them, in order.

        tape = Tape(images)
        with tape:
            logits = model(images)

    Values carry the graph they would have without a tape. Slot 0 is the images; `slot` names any other tensor.
    """

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._slots = {id(images): 0}
        self._tensors: list[Tensor | None] = [images]  # kept, so that no id comes twice

    def slot(self, tensor: Tensor) -> int | None:
        """Where a tensor stands on the tape; None where it does not come from the images."""
        return self._slots.get(id(self.current(tensor)))

    def forget(self) -> None:
        """Hold only what the calls need. No slot can be asked for afterwards."""
        self._slots.clear()
        self._tensors.clear()
        self._newer.clear()

    def rewrites(self, name: str, target: object) -> bool:
        return self._has(target)  # a buffer that a module keeps is changed as the module means it

    def _has(self, value: object) -> bool:
        return id(value) in self._slots

    def call(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs: list[Tensor] = []

        def note(tensor: Tensor) -> Any:
            if not self._has(tensor):
                return tensor
            inputs.append(tensor)
            return Input(len(inputs) - 1)

        noted, named = map_tensors(args, note), map_tensors(kwargs, note)
        result = function(*args, **kwargs)
        if not inputs or name in _CUTS:
            return result
        found = [result] if isinstance(result, Tensor) else list(result) if isinstance(result, tuple | list) else []
        if name == "__setitem__":
            found = [args[0]]
        values = [value for value in found if isinstance(value, Tensor) and value.is_floating_point()]
        if not values or any(self._has(value) for value in values):  # a shape, a comparison, or the same tensor again
            return result
        outputs = []
        for value in found:
            outputs.append(self._add(value) if any(value is kept for kept in values) else -1)
        slots = [self._slots[id(tensor)] for tensor in inputs]
        self.calls.append(Call(name, function, noted, named, inputs, slots, outputs))
        return result

    def _add(self, tensor: Tensor) -> int:
        self._tensors.append(tensor)
        self._slots[id(tensor)] = len(self._tensors) - 1
        return len(self._tensors) - 1


def map_tensors(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """`value` with every tensor in its tuples, lists and dicts changed; a named tuple stays as it is."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) in (tuple, list):
        return type(value)([map_tensors(item, change) for item in value])
    if type(value) is dict:
        return {key: map_tensors(item, change) for key, item in value.items()}
    return value


def _name(function: Callable[..., Any]) -> str:
    name = str(getattr(function, "__name__", function))
    if name != "__get__":
        return name
    return (resolve_name(function) or name).removesuffix(".__get__").rpartition(".")[2]


def _on_a_copy(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        copy = target.clone()
        function(copy, *args, **kwargs)
        return copy

    return run
