"""`torch.nn.Linear` by the compiled kernels where they are built."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from titans_seq.ops.native import layers


class Linear(nn.Linear):
    """``y = x W' + b``; on a CPU in float32 and float64 with the same bits for a row whatever the rows beside it.

    Weights, their names and their start are those of `torch.nn.Linear`, which does the work everywhere else: on other
    devices and types, under autocast and `torch.compile`, and where the kernels are not built.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``input`` (..., in) to (..., out)."""
        given = (self.weight,) if self.bias is None else (self.weight, self.bias)
        if layers.available(input, *given) and not torch.is_autocast_enabled("cpu"):
            return layers.linear(input, self.weight, self.bias)
        return super().forward(input)
