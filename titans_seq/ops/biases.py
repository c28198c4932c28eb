"""Attentional biases: the inner loss whose gradient is the surprise (MIRAS 2504.13173, section 4).

With ``r = M(k) - v`` each bias gives ``error = d loss / d M(k)``, which the structure then carries back
through its layers. Where the loss has a kink, the smooth stand-ins of MIRAS Remark 5 are used
(Sign(x) ~ tanh(a x), abs(x) ~ sqrt(x^2 + eps)), because the outer gradient differentiates the error.

=============  ===================================================  ==========================
name           loss per token                                       error
=============  ===================================================  ==========================
dot_product    -2 <M(k), v>                                         -2 v
l2             ||r||^2                                              2 r
lp             ||r||_p^p                                            p Sign(r) abs(r)^(p-1)
huber          sum_i H(r_i), H of threshold delta_t                 r_i, at most delta_t
huber_norm     H(||r||)                                             r, at most delta_t long
huber_mixture  switches l2 -> delta_t l1 where ||r|| > delta_t      2 r, else delta_t Sign(r)
robust         1/2 ||r||^2 + Delta ||r||                            r + Delta r / ||r||
=============  ===================================================  ==========================

`huber_mixture` is Yaad's printed Eq. 26. It is discontinuous at ``||r|| = delta_t`` (the error's length jumps
from 2 delta to delta sqrt(D)); we keep it as printed. To add a bias: one class here, its name in `BIASES`,
and a row in tests/ops/test_biases.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from titans_seq.errors import RangeError, unknown_name

_EPS = 1e-6


def _length(r: Tensor) -> Tensor:
    return (r * r).sum(-1, keepdim=True).add(_EPS**2).sqrt()


@dataclass(frozen=True)
class AttentionalBias:
    """One inner loss. ``r`` and ``v`` are (..., D_v); ``threshold`` is (..., 1) or None."""

    @property
    def uses_threshold(self) -> bool:
        """Whether the loss takes a data-dependent delta_t > 0."""
        return False

    def loss(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        """Inner loss per token, (...)."""
        raise NotImplementedError

    def error(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        """d loss / d M(k), shaped like ``r``."""
        raise NotImplementedError

    def error_vjp(
        self, r: Tensor, v: Tensor, threshold: Tensor | None, ebar: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Adjoints of `error` with respect to (r, v, threshold). The default asks autograd."""
        with torch.enable_grad():
            r = r.detach().requires_grad_()
            leaves = [r]
            if threshold is not None:
                threshold = threshold.detach().requires_grad_()
                leaves.append(threshold)
            grads = torch.autograd.grad(self.error(r, v, threshold), leaves, ebar, allow_unused=True)
        return grads[0], None, grads[1] if threshold is not None else None


@dataclass(frozen=True)
class DotProduct(AttentionalBias):
    """Hebbian: the write does not look at what the memory already knows."""

    def loss(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        return -2 * ((r + v) * v).sum(-1)

    def error(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        return -2 * v

    def error_vjp(
        self, r: Tensor, v: Tensor, threshold: Tensor | None, ebar: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return None, -2 * ebar, None


@dataclass(frozen=True)
class L2(AttentionalBias):
    """Squared error (Titans Eq. 12, without the 1/2)."""

    def loss(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        return (r * r).sum(-1)

    def error(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        return 2 * r

    def error_vjp(
        self, r: Tensor, v: Tensor, threshold: Tensor | None, ebar: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return 2 * ebar, None, None


@dataclass(frozen=True)
class Lp(AttentionalBias):
    """p-norm (MIRAS Eq. 10-11; Moneta takes p = 3). ``sharpness`` is the a of tanh(a x)."""

    p: float = 3.0
    sharpness: float = 10.0

    def __post_init__(self) -> None:
        if self.p < 1:
            raise RangeError(f"lp bias: p must be at least 1, found {self.p}")

    def loss(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        return r.abs().pow(self.p).sum(-1)

    def error(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        return self.p * torch.tanh(self.sharpness * r) * (r * r + _EPS).pow((self.p - 1) / 2)


@dataclass(frozen=True)
class _Thresholded(AttentionalBias):
    @property
    def uses_threshold(self) -> bool:
        return True


def _huber(x: Tensor, delta: Tensor) -> Tensor:
    return torch.where(x.abs() <= delta, 0.5 * x * x, delta * (x.abs() - 0.5 * delta))


@dataclass(frozen=True)
class Huber(_Thresholded):
    """Huber loss per coordinate (MIRAS Eq. 13-14)."""

    def loss(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        assert threshold is not None
        return _huber(r, threshold).sum(-1)

    def error(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        assert threshold is not None
        return torch.minimum(torch.maximum(r, -threshold), threshold)


@dataclass(frozen=True)
class HuberNorm(_Thresholded):
    """Huber loss of the error's length (MIRAS Eq. 15): a per-token clip of the surprise. Continuous."""

    def loss(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        assert threshold is not None
        return _huber(_length(r), threshold).squeeze(-1)

    def error(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        assert threshold is not None
        n = _length(r)
        return torch.where(n <= threshold, r, threshold * r / n)


@dataclass(frozen=True)
class HuberMixture(_Thresholded):
    """Yaad's switch per token (MIRAS Eq. 16 and 26), with Sign(x) ~ tanh(a x)."""

    sharpness: float = 10.0

    def loss(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        assert threshold is not None
        far = threshold.squeeze(-1) * torch.log(torch.cosh(self.sharpness * r)).sum(-1) / self.sharpness
        return torch.where((_length(r) <= threshold).squeeze(-1), (r * r).sum(-1), far)

    def error(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        assert threshold is not None
        return torch.where(_length(r) <= threshold, 2 * r, threshold * torch.tanh(self.sharpness * r))


@dataclass(frozen=True)
class Robust(AttentionalBias):
    """Least loss under the worst shift of v within a ball of radius ``shift`` (MIRAS Eq. 17)."""

    shift: float = 0.1

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise RangeError(f"robust bias: shift must not be negative, found {self.shift}")

    def loss(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        return 0.5 * (r * r).sum(-1) + self.shift * _length(r).squeeze(-1)

    def error(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        return r + self.shift * r / _length(r)


BIASES: dict[str, type[AttentionalBias]] = {
    "dot_product": DotProduct,
    "l2": L2,
    "lp": Lp,
    "huber": Huber,
    "huber_norm": HuberNorm,
    "huber_mixture": HuberMixture,
    "robust": Robust,
}


def make_bias(name: str, **options: float) -> AttentionalBias:
    """The bias called ``name``; ``options`` are its fields (``p``, ``sharpness``, ``shift``)."""
    if name not in BIASES:
        raise unknown_name("attentional bias", name, BIASES)
    return BIASES[name](**options)
