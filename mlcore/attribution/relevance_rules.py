"""How each operation hands relevance from its output to its inputs, by operations that can be differentiated.

Bach et al., "On pixel-wise explanations …", PLoS ONE 2015; Montavon et al., "Layer-wise relevance propagation: an
overview", 2019; Zhang et al., "Top-down neural attention by excitation backprop", IJCV 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mlcore.attribution.tape import Call

# Several relevances at once, as from several classes: what is computed from the values is shared.
Strands = list[Tensor]
Incoming = list[Strands | None]  # one entry an output of the call; None where no relevance arrived
Outgoing = list[Strands | None]  # one entry an input


@dataclass(frozen=True)
class How:
    """Which rules a method takes. title: what errors call it.

    linear: "epsilon" or "plus" on linear layers; convolutions always have z+. epsilon: of the ε rule.
    stabiliser: of all other divisions.
    biases: the bias (its positive part in z+) takes a share, which goes no further.
    positive: additions and means share among positive contributions only, instead of signed ones.
    keep: relevance stays in the graph.
    """

    title: str
    linear: str = "epsilon"
    epsilon: float = 1e-6
    stabiliser: float = 1e-6
    biases: bool = True
    positive: bool = False
    keep: bool = False


@dataclass
class Step:
    """A call of the tape with the batch normalisation that follows it, if that is merged into it.

    origins: names of the operations that its inputs come from.
    """

    call: Call
    norm: Call | None = None
    origins: tuple[str, ...] = ()


def values_of(tensor: Tensor, how: How) -> Tensor:
    """A value of the forward pass as rules need it: at least float32, with its graph where that is kept."""
    value = tensor if how.keep else tensor.detach()
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def divided(relevance: Tensor, total: Tensor, stabiliser: float) -> Tensor:
    """R / (z + stabiliser · sign z), sign 0 = 1; without a stabiliser a zero total gives nothing."""
    if stabiliser:
        return relevance / (total + torch.where(total < 0, -stabiliser, stabiliser))
    nothing = total == 0
    return torch.where(nothing, torch.zeros_like(total), relevance / torch.where(nothing, 1.0, total))


def _pull(outputs: list[Tensor], inputs: list[Tensor], upstream: list[Tensor], how: How) -> list[Tensor]:
    """Vector–Jacobian products of one operation; only its own small graph is walked."""
    found = torch.autograd.grad(
        outputs, inputs, upstream, retain_graph=True, create_graph=how.keep, allow_unused=True, materialize_grads=True
    )
    return list(found)


def _leaf(value: Tensor) -> Tensor:
    return value if value.requires_grad else value.detach().requires_grad_()


def pass_on(step: Step, incoming: Incoming, how: How) -> Outgoing:
    """Activations, dropout, a normalisation that stands alone: relevance goes through as it is."""
    (strands,) = incoming
    if strands is None or len(step.call.inputs) != 1:
        raise _no_rule(step, how)
    shape = step.call.inputs[0].shape
    return [[relevance.sum_to_size(shape) for relevance in strands]]


def move(step: Step, incoming: Incoming, how: How) -> Outgoing:
    """What only moves values, or picks some (max pooling: the winner): relevance goes where the value came from."""
    with torch.enable_grad():
        inputs = [values_of(value, how).detach().requires_grad_() for value in step.call.inputs]
        results = step.call.run(inputs)
    found = [results] if isinstance(results, Tensor) else list(results)
    given = [(value, strands) for value, strands in zip(found, incoming, strict=True) if strands is not None]
    outputs = [value for value, _ in given]
    count = len(given[0][1])
    pulled = [_pull(outputs, inputs, [strands[k] for _, strands in given], how) for k in range(count)]
    return [[pulled[k][i] for k in range(count)] for i in range(len(inputs))]


def share(step: Step, incoming: Incoming, how: How) -> Outgoing:
    """Means, sums and enlargements: in proportion to the values, R · x / z."""
    (strands,) = incoming
    if strands is None or len(step.call.inputs) != 1:
        raise _no_rule(step, how)
    value = values_of(step.call.inputs[0], how)
    with torch.enable_grad():
        value = _leaf(value.clamp(min=0) if how.positive else value)
        total = step.call.run([value])
        return [[value * _pull([total], [value], [divided(r, total, how.stabiliser)], how)[0] for r in strands]]


def add(step: Step, incoming: Incoming, how: How) -> Outgoing:
    """Sums of two signals (residuals): in proportion to the summands. A constant takes nothing."""
    (strands,) = incoming
    assert strands is not None
    call = step.call
    if len(call.inputs) == 1:
        return pass_on(step, incoming, how)
    signs = {"add": (1.0, 1.0), "sub": (1.0, -1.0), "rsub": (-1.0, 1.0), "__rsub__": (-1.0, 1.0)}[call.name]
    alpha = call.kwargs.get("alpha", 1)
    weights = (signs[0], signs[1] * alpha) if call.name != "rsub" else (signs[0] * alpha, signs[1])
    parts = [values_of(value, how) * weight for value, weight in zip(call.inputs, weights, strict=True)]
    if how.positive:
        parts = [part.clamp(min=0) for part in parts]
    total = parts[0] + parts[1]
    shares = [divided(relevance, total, how.stabiliser) for relevance in strands]
    return [[(part * s).sum_to_size(part.shape) for s in shares] for part in parts]


def multiply(step: Step, incoming: Incoming, how: How) -> Outgoing:
    """A signal times a constant or a gate (squeeze-excitation): all relevance is the signal's.

    The gate is the factor that comes from a sigmoid, or else the one that is the same for many cells.
    """
    (strands,) = incoming
    assert strands is not None
    inputs = step.call.inputs
    if len(inputs) == 1:
        return pass_on(step, incoming, how)
    gates = [origin in _GATES for origin in step.origins]
    if gates[0] == gates[1]:
        gates = [inputs[0].numel() < inputs[1].numel(), inputs[0].numel() > inputs[1].numel()]
    if gates[0] == gates[1] or (step.call.name != "mul" and gates[0]):
        raise _no_rule(step, how)
    return [None if gate else list(strands) for gate in gates]


def weighted(step: Step, incoming: Incoming, how: How) -> Outgoing:
    """Convolutions (z+) and linear layers (ε or z+), with the batch normalisation after them merged in.

    z+: z = x⁺·w⁺ + x⁻·w⁻ + b⁺ and R_x = x⁺ · w⁺(R/z) + x⁻ · w⁻(R/z): what raises the output, of either sign.
    ε: z = x·w + b and R_x = x · w(R/(z + ε·sign z)).
    """
    (strands,) = incoming
    assert strands is not None
    if len(step.call.inputs) != 1:  # weights that come from the images
        raise _no_rule(step, how)
    value = values_of(step.call.inputs[0], how)
    weight, bias, options = _layer(step, how)
    if not how.biases:
        bias = None
    run = step.call.function
    plus = step.call.name != "linear" or how.linear == "plus"
    with torch.enable_grad():
        if plus:
            parts = [(value.clamp(min=0), weight.clamp(min=0), None if bias is None else bias.clamp(min=0))]
            if bool((value < 0).any()):
                parts.append((value.clamp(max=0), weight.clamp(max=0), None))
        else:
            parts = [(value, weight, bias)]
        inputs = [_leaf(x) for x, _, _ in parts]
        outputs = [run(x, w, b, *options) for x, (_, w, b) in zip(inputs, parts, strict=True)]
        total = outputs[0] + outputs[1] if len(outputs) == 2 else outputs[0]
        found = []
        for relevance in strands:
            share = divided(relevance, total, how.stabiliser if plus else how.epsilon)
            pulled = _pull(outputs, inputs, [share] * len(outputs), how)
            products = [x * gradient for x, gradient in zip(inputs, pulled, strict=True)]
            found.append(products[0] + products[1] if len(products) == 2 else products[0])
    return [found]


def _layer(step: Step, how: How) -> tuple[Tensor, Tensor | None, tuple[Any, ...]]:
    """Weight, bias and the other options of a convolution or linear layer, its batch normalisation merged in."""
    args, kwargs = step.call.arguments(step.call.inputs)
    raw_weight, raw_bias, options = (_linear_options if step.call.name == "linear" else _convolution_options)(
        *args, **kwargs
    )
    weight = values_of(raw_weight, how)
    bias = None if raw_bias is None else values_of(raw_bias, how)
    if step.norm is None:
        return weight, bias, options
    mean, scale, shift = _normalisation(step.norm, how)
    weight = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
    return weight, (-mean if bias is None else bias - mean) * scale + shift, options


def _linear_options(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor | None, Any]:
    return weight, bias, ()


def _convolution_options(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, Tensor | None, tuple[Any, ...]]:
    return weight, bias, (stride, padding, dilation, groups)


def _normalisation(call: Call, how: How) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, scale and shift (C,) of a batch normalisation: running ones, or the batch's where it used those."""
    args, kwargs = call.arguments([values_of(value, how) for value in call.inputs])

    def read(
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
        *_: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if training or running_mean is None or running_var is None:
            axes = [axis for axis in range(input.dim()) if axis != 1]
            mean, variance = input.mean(axes), input.var(axes, unbiased=False)
        else:
            mean, variance = values_of(running_mean, how), values_of(running_var, how)
        scale = (variance + eps).rsqrt()
        if weight is not None:
            scale = scale * values_of(weight, how)
        return mean, scale, torch.zeros_like(scale) if bias is None else values_of(bias, how)

    return read(*args, **kwargs)


def _no_rule(step: Step, how: How) -> ValueError:
    return no_rule(step.call.name, how)


def no_rule(name: str, how: How) -> ValueError:
    """What is said of an operation that relevance cannot be sent through."""
    return ValueError(f"{how.title} has no rule for {name}; it explains convolutional classifiers.")


# Operations whose outcome says how much of something else passes.
_GATES = frozenset({"sigmoid", "hardsigmoid", "softmax"})

Rule = Callable[[Step, Incoming, How], Outgoing]

_ACTIVATIONS = (
    "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish softplus hardswish hardtanh hardsigmoid sigmoid "
    "tanh clamp clamp_min clamp_max threshold dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout "
    "feature_alpha_dropout neg clone contiguous to float double half bfloat16 type "
    "batch_norm layer_norm group_norm instance_norm local_response_norm"
)
_MOVES = (
    "view reshape flatten unflatten ravel view_as reshape_as permute transpose swapaxes swapdims movedim T mT squeeze "
    "unsqueeze __getitem__ chunk split tensor_split unbind narrow select index_select cat concat stack pad roll flip "
    "expand expand_as repeat pixel_shuffle pixel_unshuffle channel_shuffle max_pool1d max_pool2d max_pool3d "
    "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d "
    "adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices amax"
)
_SHARES = (
    "mean sum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
    "interpolate upsample"
)

RULES: dict[str, Rule] = {
    **dict.fromkeys(_ACTIVATIONS.split(), pass_on),
    **dict.fromkeys(_MOVES.split(), move),
    **dict.fromkeys(_SHARES.split(), share),
    **dict.fromkeys(("add", "sub", "rsub", "__rsub__"), add),
    **dict.fromkeys(("mul", "div"), multiply),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "linear"), weighted),
}
