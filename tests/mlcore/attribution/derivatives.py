"""Exact derivatives of maps beside finite differences, along random directions so that a few values are enough."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def assert_exact(model: nn.Module, value: Callable[[bool], Tensor], step: float = 1e-6) -> None:
    """`value(True)` is differentiated by every parameter; `value(False)` is what finite differences look at."""
    value(True).backward()
    generator = torch.Generator().manual_seed(9)
    seen = 0.0
    for name, parameter in model.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        kept = parameter.detach().clone()
        ends = []
        for sign in (1, -1):
            parameter.data.copy_(kept + sign * step * direction)
            ends.append(float(value(False).detach()))
        parameter.data.copy_(kept)
        difference = (ends[0] - ends[1]) / (2 * step)
        exact = 0.0 if parameter.grad is None else float((parameter.grad * direction).sum())
        scale = 1e-3 * abs(difference) + 1e-5
        assert abs(exact - difference) < scale, f"{name}: {exact} by autograd, {difference} by differences"
        seen += abs(difference)
    assert seen > 0.1, "the value must depend on the parameters"
