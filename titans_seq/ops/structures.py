"""Memory structures: what the fast weights are, and how a key is pushed through them.

A structure is a stack of linear layers with weights that change while the sequence is read. Its weights
are kept as one flat row of numbers per batch row and head (`size` of them), so that decay and momentum
are single operations whatever the depth.

=========  ==========================================================  =======================
name       M(x)                                                        fast weights
=========  ==========================================================  =======================
vector     ``w * x``                                                   D
matrix     ``W x``                                                     D_v x D
mlp        ``x + LN(W_L act(... act(W_1 x)))``                         depth matrices
=========  ==========================================================  =======================

LN carries no learned scale: an affine map belongs to the slow weights, outside (Titans re-implementations
that learn it at test time read 0.9 relative apart). The residual is dropped when key and value widths differ.
Source: Titans (2501.00663) section 4.4 and its NeurIPS text; MIRAS (2504.13173) section 5.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from titans_seq.errors import RangeError, ShapeError, unknown_name
from titans_seq.ops.layers import Dense, Diagonal

LN_EPS = 1e-5
_PEAK = 0.3989422804014327  # density of the standard normal at 0
STRUCTURES = ("vector", "matrix", "mlp")


class Activation:
    """An element-wise function with its first two derivatives (the second drives the outer gradient)."""

    def __init__(self, name: str) -> None:
        if name not in ("gelu", "silu"):
            raise unknown_name("activation", name, ("gelu", "silu"))
        self.name = name

    def __call__(self, z: Tensor, out: Tensor | None = None) -> Tensor:
        if out is None:
            return F.gelu(z) if self.name == "gelu" else F.silu(z)
        return torch.ops.aten.gelu.out(z, out=out) if self.name == "gelu" else torch.ops.aten.silu.out(z, out=out)

    def scaled_slope(self, t: Tensor, z: Tensor, out: Tensor | None = None) -> Tensor:
        """``t * act'(z)`` in one pass."""
        op = torch.ops.aten.gelu_backward if self.name == "gelu" else torch.ops.aten.silu_backward
        return op(t, z) if out is None else op.grad_input(t, z, grad_input=out)

    def expansion(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``act(z), act'(z), act''(z)``, sharing what they have in common."""
        if self.name == "gelu":
            square = z * z
            density = (square * -0.5).exp_().mul_(_PEAK)
            share = torch.erf(z * 0.5**0.5).mul_(0.5).add_(0.5)
            return z * share, torch.addcmul(share, z, density), density.mul_(square.neg_().add_(2))
        s = torch.sigmoid(z)
        rest = 1 - s
        bend = (s * rest).mul_(torch.addcmul(z, z, s, value=-2).add_(2))
        return z * s, torch.addcmul(s, s, rest.mul_(z)), bend


@dataclass(frozen=True)
class Structure:
    """The shape of a memory network.

    Parameters
    ----------
    name : ``vector``, ``matrix`` or ``mlp``.
    key_width, value_width : D and D_v, the widths of keys and queries, and of values.
    depth : number of matrices L (``mlp`` only).
    expansion : hidden width over key width (``mlp`` with depth >= 2).
    activation : ``gelu`` (MIRAS) or ``silu``.

    Examples
    --------
    >>> Structure("mlp", 4, 4, depth=2, expansion=3).shapes
    ((12, 4), (4, 12))
    """

    name: str
    key_width: int
    value_width: int
    depth: int = 2
    expansion: float = 4
    activation: str = "gelu"

    def __post_init__(self) -> None:
        if self.name not in STRUCTURES:
            raise unknown_name("memory structure", self.name, STRUCTURES)
        if min(self.key_width, self.value_width) < 1:
            raise RangeError(f"memory widths must be at least 1, found {self.key_width} and {self.value_width}")
        if self.name == "vector" and self.key_width != self.value_width:
            raise ShapeError(
                f"a vector memory maps a key to a value of the same width, found key width {self.key_width} and "
                f"value width {self.value_width}; use the matrix or mlp structure"
            )
        if self.depth < 1:
            raise RangeError(f"memory depth must be at least 1, found {self.depth}")
        if self.hidden < 1:
            raise RangeError(f"memory expansion must be positive, found {self.expansion}")
        Activation(self.activation)

    @property
    def hidden(self) -> int:
        """Hidden width E."""
        return int(self.expansion * self.key_width)

    @property
    def layers(self) -> tuple[Dense | Diagonal, ...]:
        """The layers' arithmetic, first to last."""
        return tuple(Diagonal() if self.name == "vector" else Dense(widens=i < o) for o, i in self.shapes)

    @property
    def act(self) -> Activation:
        return Activation(self.activation)

    @property
    def normalised(self) -> bool:
        """Whether a LayerNorm closes the network."""
        return self.name == "mlp"

    @property
    def residual(self) -> bool:
        """Whether the key is added to the output."""
        return self.name == "mlp" and self.key_width == self.value_width

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(out, in) of every layer; a vector is (1, D)."""
        if self.name == "vector":
            return ((1, self.key_width),)
        if self.name == "matrix":
            return ((self.value_width, self.key_width),)
        widths = [self.key_width, *[self.hidden] * (self.depth - 1), self.value_width]
        return tuple(zip(widths[1:], widths[:-1], strict=True))

    @property
    def size(self) -> int:
        """Fast weights per batch row and head."""
        return sum(prod(s) for s in self.shapes)

    def output_shape(self, layer: int, tokens: int) -> tuple[int, int]:
        """(C, width) of a layer's output for ``tokens`` keys."""
        out, inner = self.shapes[layer]
        return tokens, inner if self.name == "vector" else out

    def split(self, flat: Tensor) -> list[Tensor]:
        """Views of a flat row (..., size) as one (..., out, in) matrix per layer."""
        parts = flat.split([prod(s) for s in self.shapes], dim=-1)
        return [p.unflatten(-1, s) for p, s in zip(parts, self.shapes, strict=True)]

    def join(self, parts: list[Tensor]) -> Tensor:
        """The inverse of `split`."""
        return torch.cat([p.flatten(-2) for p in parts], dim=-1)

    def apply(self, flat: Tensor, x: Tensor) -> Tensor:
        """M(W; x): ``flat`` (..., size), ``x`` (..., C, D) -> (..., C, D_v)."""
        weights, h = self.split(flat), x
        for i, (layer, w) in enumerate(zip(self.layers, weights, strict=True)):
            h = layer.forward(h, w)
            if i + 1 < len(weights):
                h = self.act(h)
        if self.normalised:
            h = F.layer_norm(h, h.shape[-1:], eps=LN_EPS)
        return h + x if self.residual else h

    def initial(self, generator: torch.Generator | None = None) -> Tensor:
        """Random W_0, (size,): keys have length 1, so unit variance in the first layer gives
        activations of order 1; later layers keep it. Linear memories start at zero, which reads nothing."""
        if self.name == "vector" or self.name == "matrix":
            return torch.zeros(self.size)
        parts = []
        for i, shape in enumerate(self.shapes):
            std = 1.0 if i == 0 else shape[1] ** -0.5
            parts.append(torch.randn(shape, generator=generator) * std)
        return self.join(parts)


STRUCTURES = ("vector", "matrix", "mlp")


def layer_norm(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNorm without affine: (normalised, mean, reciprocal deviation)."""
    return torch.native_layer_norm(x, (x.shape[-1],), None, None, LN_EPS)


def layer_norm_back(e: Tensor, x: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    """Adjoint of `layer_norm`: ``rstd (e - mean e - xhat mean(e xhat))``. The Jacobian is symmetric, so this is
    also the derivative of the normalised value along ``e``."""
    return torch.ops.aten.native_layer_norm_backward(
        e, x, (x.shape[-1],), mean, rstd, None, None, [True, False, False]
    )[0]
