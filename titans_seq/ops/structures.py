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

LN_EPS = 1e-5
STRUCTURES = ("vector", "matrix", "mlp")


class Dense:
    """A full matrix: ``z = a W^T`` with ``a`` (..., C, in) and ``W`` (..., out, in).

    The verbs that end in ``_stack`` take R matrices at once, (..., R, out, in): the memory and its momentum, or
    their adjoints. One product over R * out rows is faster than R products.
    """

    @staticmethod
    def forward(a: Tensor, w: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.matmul(a, w.mT, out=out)

    @staticmethod
    def forward_stack(a: Tensor, w: Tensor) -> Tensor:
        """``a W_r^T`` for every r: (..., C, R, out)."""
        return (a @ w.flatten(-3, -2).mT).unflatten(-1, w.shape[-3:-1])

    @staticmethod
    def back(d: Tensor, w: Tensor, out: Tensor | None = None) -> Tensor:
        """Errors at the output, carried to the input: ``d W``."""
        return torch.matmul(d, w, out=out)

    @staticmethod
    def back_stack(d: Tensor, w: Tensor) -> Tensor:
        """``sum_r d_r W_r`` with ``d`` (..., C, R, out): (..., C, in)."""
        return d.flatten(-2) @ w.flatten(-3, -2)

    @staticmethod
    def outer(d: Tensor, a: Tensor) -> Tensor:
        """Sum over the chunk of ``d_j a_j^T``: the weight gradient, (..., out, in)."""
        return d.mT @ a

    @staticmethod
    def outer_stack(d: Tensor, a: Tensor) -> Tensor:
        """`outer` for every r: ``d`` (..., C, R, out) -> (..., R, out, in)."""
        return (d.flatten(-2).mT @ a).unflatten(-2, d.shape[-2:])

    @staticmethod
    def subtract_outer_stack_(w: Tensor, d: Tensor, a: Tensor) -> None:
        """``w -= outer_stack(d, a)`` without a temporary: ``w`` (N, R, out, in)."""
        w.flatten(1, 2).baddbmm_(d.flatten(-2).mT, a, alpha=-1)

    @staticmethod
    def recall(h: Tensor, a: Tensor, d: Tensor, g: Tensor) -> Tensor:
        """``sum_j G[t,j] (d_j a_j^T) h_t``: what the writes of this chunk add to the read at t."""
        return (h @ a.mT).mul_(g) @ d

    @staticmethod
    def recall_vjp(zbar: Tensor, h: Tensor, a: Tensor, d: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        """Adjoints of `recall` with respect to (h, a, d, g)."""
        p = h @ a.mT
        weighted = zbar @ d.mT
        pbar = weighted * g
        gbar = weighted.mul_(p)
        return pbar @ a, pbar.mT @ h, p.mul_(g).mT @ zbar, gbar

    @staticmethod
    def squared_length(d: Tensor, a: Tensor) -> Tensor:
        """``||d_j a_j^T||^2`` per token."""
        return torch.linalg.vecdot(d, d) * torch.linalg.vecdot(a, a)


class Diagonal:
    """One weight per coordinate: ``z = a * w`` with ``w`` (..., 1, D). Same verbs as `Dense`."""

    @staticmethod
    def forward(a: Tensor, w: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.mul(a, w, out=out)

    @staticmethod
    def forward_stack(a: Tensor, w: Tensor) -> Tensor:
        return a.unsqueeze(-2) * w.squeeze(-2).unsqueeze(-3)

    @staticmethod
    def back(d: Tensor, w: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.mul(d, w, out=out)

    @staticmethod
    def back_stack(d: Tensor, w: Tensor) -> Tensor:
        return (d * w.squeeze(-2).unsqueeze(-3)).sum(-2)

    @staticmethod
    def outer(d: Tensor, a: Tensor) -> Tensor:
        return (d * a).sum(-2, keepdim=True)

    @staticmethod
    def outer_stack(d: Tensor, a: Tensor) -> Tensor:
        return (d * a.unsqueeze(-2)).sum(-3).unsqueeze(-2)

    @staticmethod
    def subtract_outer_stack_(w: Tensor, d: Tensor, a: Tensor) -> None:
        w.sub_(Diagonal.outer_stack(d, a))

    @staticmethod
    def recall(h: Tensor, a: Tensor, d: Tensor, g: Tensor) -> Tensor:
        return h * (g @ (d * a))

    @staticmethod
    def recall_vjp(zbar: Tensor, h: Tensor, a: Tensor, d: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        u = d * a
        hz = h * zbar
        ubar = g.mT @ hz
        return zbar * (g @ u), ubar * d, ubar * a, hz @ u.mT

    @staticmethod
    def squared_length(d: Tensor, a: Tensor) -> Tensor:
        return (d * a).square().sum(-1)


class Activation:
    """An element-wise function with its first two derivatives (the second drives the outer gradient)."""

    def __init__(self, name: str) -> None:
        if name not in ("gelu", "silu"):
            raise unknown_name("activation", name, ("gelu", "silu"))
        self.name = name

    def __call__(self, z: Tensor) -> Tensor:
        return F.gelu(z) if self.name == "gelu" else F.silu(z)

    def slope(self, z: Tensor) -> Tensor:
        """``act'(z)``."""
        return self.scaled_slope(torch.ones_like(z), z)

    def scaled_slope(self, t: Tensor, z: Tensor) -> Tensor:
        """``t * act'(z)`` in one pass."""
        if self.name == "gelu":
            return torch.ops.aten.gelu_backward(t, z)
        return torch.ops.aten.silu_backward(t, z)

    def curvature(self, z: Tensor) -> Tensor:
        """``act''(z)``."""
        if self.name == "gelu":
            return torch.exp(-0.5 * z * z).mul_(2 - z * z).mul_(0.3989422804014327)
        s = torch.sigmoid(z)
        return (s * (1 - s)).mul_(2 + z * (1 - 2 * s))


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
    def layer(self) -> type[Dense] | type[Diagonal]:
        return Diagonal if self.name == "vector" else Dense

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
        for i, w in enumerate(weights):
            h = self.layer.forward(h, w)
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
