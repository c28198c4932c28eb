"""`torch.nn.Linear` by the compiled kernels where they are built."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.ops.native import layers


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x W' + b`` over the last axis: x (..., in), weight W (out, in), bias b (out,); see `Linear`."""
    given = (weight,) if bias is None else (weight, bias)
    if layers.available(x, *given) and not torch.is_autocast_enabled("cpu"):
        return layers.linear(x, weight, bias)
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """``y = x W' + b``; on a CPU in float32 and float64 with the same bits for a row whatever the rows beside it.

    Weights, their names and their start are those of `torch.nn.Linear`, which does the work everywhere else: on other
    devices and types, under autocast and `torch.compile`, and where the kernels are not built.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``input`` (..., in) to (..., out)."""
        return linear(input, self.weight, self.bias)
