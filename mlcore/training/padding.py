"""TensorFlow's SAME padding for networks whose weights were trained with it.

Torch pads a 3x3 convolution of stride 2 by one pixel on every side; TensorFlow's SAME, at even input sizes,
pads by none on the left and top and one on the right and bottom. Weights trained one way lose two to three
points of accuracy when read the other way.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class SamePadConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow's SAME does; parameters and their names are those of
    ``nn.Conv2d``.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        amounts: list[int] = []
        for axis in (1, 0):  # functional.pad counts from the last axis
            size, stride = input.shape[2 + axis], self.stride[axis]
            extent = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
            total = max((-(-size // stride) - 1) * stride + extent - size, 0)
            amounts += [total // 2, total - total // 2]
        return functional.conv2d(
            functional.pad(input, amounts), self.weight, self.bias, self.stride, 0, self.dilation, self.groups
        )


def use_tensorflow_padding(model: nn.Module) -> int:
    """Replace every strided, padded convolution of a model in place; the number of replaced ones is returned.

    Weights are shared with the replaced modules, so this may be done before or after loading. Convolutions of
    stride 1 pad alike in both libraries and stay as they are.
    """
    replaced = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is not nn.Conv2d or max(child.stride) == 1 or max(child.kernel_size) == 1:
                continue
            with torch.device("meta"):
                other = SamePadConv2d(
                    child.in_channels,
                    child.out_channels,
                    child.kernel_size,  # type: ignore[arg-type]
                    stride=child.stride,  # type: ignore[arg-type]
                    dilation=child.dilation,  # type: ignore[arg-type]
                    groups=child.groups,
                    bias=child.bias is not None,
                )
            other.weight, other.bias = child.weight, child.bias
            other.train(child.training)
            setattr(parent, name, other)
            replaced += 1
    return replaced
