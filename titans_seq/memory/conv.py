"""Depthwise causal convolution with a carried tail, so that a stream may be cut anywhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CausalConv(nn.Module):
    """``y[t] = sum_{i<width} w_i x[t - i]`` per channel.

    Shapes: x (B, T, channels), tail (B, width - 1, channels): the inputs just before this call.
    """

    def __init__(self, channels: int, width: int = 4) -> None:
        super().__init__()
        self.width = width
        start = torch.randn(width, channels) * 0.1
        start[0] += 1.0  # begins near the identity: the newest token
        self.weight = nn.Parameter(start)

    def empty(self, batch: int) -> Tensor:
        """The tail before the first token."""
        return self.weight.new_zeros(batch, self.width - 1, self.weight.shape[1])

    def forward(self, x: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs like ``x``, and the tail for the next call."""
        tokens = x.shape[1]
        padded = torch.cat([tail.to(x.dtype), x], 1)
        weight = self.weight.to(x.dtype)
        y = x * weight[0]
        for i in range(1, self.width):
            start = self.width - 1 - i
            # In place: a fresh tensor costs more than the sum.
            y.addcmul_(padded[:, start : start + tokens], weight[i])
        return y, padded[:, tokens:].to(tail.dtype)

    def next_tail(self, x: Tensor, tail: Tensor) -> Tensor:
        """The tail after ``x``, without its outputs."""
        missing = self.width - 1 - x.shape[1]
        if missing <= 0:
            # a copy: a view would keep all of x alive
            return x[:, -missing:].to(tail.dtype, copy=True) if self.width > 1 else tail
        return torch.cat([tail[:, tail.shape[1] - missing :], x.to(tail.dtype)], 1)
