"""One layer of a memory network: full or diagonal, with the products that the dual form and its adjoint need.

A layer's matrix, its momentum, and their adjoints are kept side by side as a *stack* of R matrices (R = 1 without
momentum), so that both take part in one product. Reads and writes weigh the R parts per token,

    read:   z_t = sum_r fade[t,r] W_r h_t              write:  W_r -= sum_j share[j,r] d_j a_j^T,

and the weights are applied on the narrow side of the layer: a layer that widens is stacked along its inputs
(out, R, in), one that narrows along its outputs (R, out, in). Nothing of size (tokens, R, hidden) is ever written.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Views = tuple[Tensor, ...]


@dataclass(frozen=True)
class Dense:
    """A full matrix: ``z = a W^T`` with ``a`` (..., C, in) and ``W`` (..., out, in). ``widens``: in < out."""

    widens: bool

    def stack(self, parts: list[Tensor]) -> Tensor:
        """R matrices (..., out, in) as one stack."""
        return torch.stack(parts, -2 if self.widens else -3)

    def part(self, stack: Tensor, r: int) -> Tensor:
        """View of matrix r."""
        return stack.select(-2 if self.widens else -3, r)

    def per_part(self, x: Tensor) -> Tensor:
        """(..., R) shaped to multiply a stack."""
        return x[..., None, :, None] if self.widens else x[..., None, None]

    def inner_products(self, x: Tensor, y: Tensor) -> Tensor:
        """``<X_r, Y_r>`` of two stacks, (..., R)."""
        return (x * y).sum((-3, -1) if self.widens else (-2, -1))

    def forward(self, a: Tensor, w: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.matmul(a, w.mT, out=out)

    def add_forward_(self, x: Tensor, a: Tensor, w: Tensor) -> None:
        """``x += forward(a, w)``, as the next two for their verbs; three axes."""
        x.baddbmm_(a, w.mT)

    def back(self, d: Tensor, w: Tensor, out: Tensor | None = None) -> Tensor:
        """Errors at the output, carried to the input: ``d W``."""
        return torch.matmul(d, w, out=out)

    def add_back_(self, x: Tensor, d: Tensor, w: Tensor) -> None:
        x.baddbmm_(d, w)

    def outer(self, d: Tensor, a: Tensor) -> Tensor:
        """Sum over the chunk of ``d_j a_j^T``: the weight gradient, (..., out, in)."""
        return d.mT @ a

    def add_outer_(self, w: Tensor, d: Tensor, a: Tensor) -> None:
        w.baddbmm_(d.mT, a)

    def squared_length(self, d: Tensor, a: Tensor) -> Tensor:
        """``||d_j a_j^T||^2`` per token."""
        return torch.linalg.vecdot(d, d) * torch.linalg.vecdot(a, a)

    def recall(self, h: Tensor, a: Tensor, d: Tensor, g: Tensor) -> Tensor:
        """``sum_j g[t,j] (d_j a_j^T) h_t``: what the writes of this chunk add to the read at t."""
        return (h @ a.mT).mul_(g) @ d

    def recall_vjp(self, zbar: Tensor, h: Tensor, a: Tensor, d: Tensor, g: Tensor) -> Views:
        """Adjoints of `recall` with respect to (h, a, d, g)."""
        p = h @ a.mT
        weighted = zbar @ d.mT
        pbar = weighted * g
        gbar = weighted.mul_(p)
        return pbar @ a, pbar.mT @ h, p.mul_(g).mT @ zbar, gbar

    def read(self, h: Tensor, fade: Tensor, stack: Tensor) -> tuple[Tensor, Tensor | None]:
        """``sum_r fade_r h W_r^T``, and what `read_vjp` wants kept."""
        if self.widens:
            return _spread(h, fade) @ stack.flatten(-2).mT, None
        parts = (h @ stack.flatten(-3, -2).mT).unflatten(-1, stack.shape[-3:-1])
        return _gather(parts, fade), parts

    def read_vjp(self, zbar: Tensor, h: Tensor, fade: Tensor, stack: Tensor, kept: Tensor | None) -> Views:
        """Adjoints of `read` with respect to (h, fade, stack)."""
        if self.widens:
            parts = (zbar @ stack.flatten(-2)).unflatten(-1, stack.shape[-2:])
            stack_bar = (zbar.mT @ _spread(h, fade)).unflatten(-1, stack.shape[-2:])
            return _gather(parts, fade), torch.linalg.vecdot(parts, h.unsqueeze(-2)), stack_bar
        assert kept is not None
        spread = _spread(zbar, fade)
        stack_bar = (spread.mT @ h).unflatten(-2, stack.shape[-3:-1])
        return spread @ stack.flatten(-3, -2), torch.linalg.vecdot(kept, zbar.unsqueeze(-2)), stack_bar

    def write_(self, stack: Tensor, d: Tensor, a: Tensor, share: Tensor) -> None:
        """``W_r -= sum_j share[j,r] d_j a_j^T`` in place; ``d, a`` (N, C, .)."""
        if self.widens:
            stack.flatten(-2).baddbmm_(d.mT, _spread(a, share), alpha=-1)
        else:
            stack.flatten(-3, -2).baddbmm_(_spread(d, share).mT, a, alpha=-1)

    def write_vjp(self, bar: Tensor, d: Tensor, a: Tensor, share: Tensor, dbar: Tensor, abar: Tensor) -> Views:
        """Adjoints of `write_`: (``dbar`` and ``abar`` with their shares added, that of share). ``bar`` is a stack."""
        if self.widens:
            flat = bar.flatten(-2)
            parts = (d @ flat).unflatten(-1, bar.shape[-2:])
            dbar = torch.baddbmm(dbar, _spread(a, share), flat.mT, alpha=-1)
            return dbar, abar - _gather(parts, share), -torch.linalg.vecdot(parts, a.unsqueeze(-2))
        flat = bar.flatten(-3, -2)
        parts = (a @ flat.mT).unflatten(-1, bar.shape[-3:-1])
        abar = torch.baddbmm(abar, _spread(d, share), flat, alpha=-1)
        return dbar - _gather(parts, share), abar, -torch.linalg.vecdot(parts, d.unsqueeze(-2))


@dataclass(frozen=True)
class Diagonal:
    """One weight per coordinate: ``z = a * w`` with ``w`` (..., 1, D), stacked as (..., R, D). Verbs as in `Dense`."""

    def stack(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, -2)

    def part(self, stack: Tensor, r: int) -> Tensor:
        return stack[..., r : r + 1, :]

    def per_part(self, x: Tensor) -> Tensor:
        return x[..., None]

    def inner_products(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.linalg.vecdot(x, y)

    def forward(self, a: Tensor, w: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.mul(a, w, out=out)

    def add_forward_(self, x: Tensor, a: Tensor, w: Tensor) -> None:
        x.addcmul_(a, w)

    def back(self, d: Tensor, w: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.mul(d, w, out=out)

    def add_back_(self, x: Tensor, d: Tensor, w: Tensor) -> None:
        x.addcmul_(d, w)

    def outer(self, d: Tensor, a: Tensor) -> Tensor:
        return (d * a).sum(-2, keepdim=True)

    def add_outer_(self, w: Tensor, d: Tensor, a: Tensor) -> None:
        w.add_(self.outer(d, a))

    def squared_length(self, d: Tensor, a: Tensor) -> Tensor:
        return (d * a).square().sum(-1)

    def recall(self, h: Tensor, a: Tensor, d: Tensor, g: Tensor) -> Tensor:
        return h * (g @ (d * a))

    def recall_vjp(self, zbar: Tensor, h: Tensor, a: Tensor, d: Tensor, g: Tensor) -> Views:
        u = d * a
        hz = h * zbar
        ubar = g.mT @ hz
        return zbar * (g @ u), ubar * d, ubar * a, hz @ u.mT

    def read(self, h: Tensor, fade: Tensor, stack: Tensor) -> tuple[Tensor, Tensor | None]:
        return h * (fade @ stack), None

    def read_vjp(self, zbar: Tensor, h: Tensor, fade: Tensor, stack: Tensor, kept: Tensor | None) -> Views:
        hz = h * zbar
        return zbar * (fade @ stack), hz @ stack.mT, fade.mT @ hz

    def write_(self, stack: Tensor, d: Tensor, a: Tensor, share: Tensor) -> None:
        stack.sub_(share.mT @ (d * a))

    def write_vjp(self, bar: Tensor, d: Tensor, a: Tensor, share: Tensor, dbar: Tensor, abar: Tensor) -> Views:
        ubar = share @ bar
        return dbar - ubar * a, abar - ubar * d, -((d * a) @ bar.mT)


def _spread(x: Tensor, weight: Tensor) -> Tensor:
    """(..., C, w) and (..., C, R) -> (..., C, R w): x once per part, weighed."""
    if weight.shape[-1] == 1:
        return x * weight
    return (x.unsqueeze(-2) * weight.unsqueeze(-1)).flatten(-2)


def _gather(parts: Tensor, weight: Tensor) -> Tensor:
    """(..., C, R, w) and (..., C, R) -> (..., C, w): the weighed sum over the parts."""
    total = parts[..., 0, :] * weight[..., 0, None]
    for r in range(1, weight.shape[-1]):
        total.addcmul_(parts[..., r, :], weight[..., r, None])
    return total
