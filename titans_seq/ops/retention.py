"""Retention gates: what the memory keeps from one token to the next (MIRAS 2504.13173, section 4.2).

The stored state is a *dual* variable A. Inside a chunk every gate moves it linearly,

    S_t = eta_t S_{t-1} - theta_t u_t          A_t = (1 - alpha_t) A_{t-1} + S_t,

and what differs is how weights are obtained from it:

* ``link``:   W = link(A), used for the gradients of a chunk and for the read at its last token;
* ``border``: what A becomes when a chunk closes (``written`` is the sum of theta_t since the last border);
* ``slope``:  between borders, weights follow A along a straight line, ``W_t = link(A_a) + slope (A_t - A_a)``,
  with one slope per row of a matrix, so that the chunk form needs matrix products only.

With ``chunk_size = 1`` every token closes a chunk and the printed recurrences hold exactly.

=============  ==================================  ===========================================
name           W = link(A)                         border
=============  ==================================  ===========================================
none           A (and alpha_t = 0)                 -
l2             A                                   -
lq             A / ||A||_q^(q-2), or exact         A, no shorter than a floor
kl             c softmax(A) over each row          A -> log W
elastic_net    A                                   A -> soft_threshold(A, gamma written)
bregman        sigmoid(A), that is F' = logit      -
=============  ==================================  ===========================================

``lq``: MIRAS prints the first form; the exact minimiser has an element-wise power, Sign(A) abs(A)^(q-1) /
||A||_q^(q-2) (``exact=True``). ``kl``: the row is the last axis; the paper names none. ``elastic_net``: the printed
threshold is zeta / alpha', proportional to the step, hence ``gamma written``. To add a gate: one class here, its name
in `GATES`, a row in tests/ops/test_retention.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from titans_seq.errors import RangeError, unknown_name
from titans_seq.ops.structures import Structure

_EPS = 1e-12


@dataclass(frozen=True)
class RetentionGate:
    """One gate. Methods take one layer's matrix (..., out, in) and are written in autograd-friendly torch."""

    @property
    def forgets(self) -> bool:
        """Whether alpha_t is used."""
        return True

    @property
    def linear(self) -> bool:
        """Whether W = A throughout, so that link, slope and border are never called."""
        return False

    @property
    def precise(self) -> bool:
        """Whether the fast weights are kept, and the memory computed, in float64."""
        return False

    def link(self, a: Tensor) -> Tensor:
        """Weights of a dual matrix."""
        return a

    def slope(self, a: Tensor) -> Tensor:
        """Step of W for a step of A, averaged over each row: broadcastable to (..., out, 1)."""
        return torch.ones_like(a[..., :1])

    def border(self, a: Tensor, written: Tensor) -> Tensor:
        """Dual matrix after a chunk closes; ``written`` is (..., 1, 1)."""
        return a

    def dual(self, w: Tensor) -> Tensor:
        """A dual matrix whose weights are ``w``, or resemble it where no such A exists (used to start A_0)."""
        return w

    def initial(self, structure: Structure, generator: torch.Generator | None = None) -> Tensor:
        """A_0 for a structure's own start, flat (size,)."""
        parts = structure.split(structure.initial(generator))
        return structure.join([self.dual(p) for p in parts])


@dataclass(frozen=True)
class NoRetention(RetentionGate):
    """Nothing is forgotten."""

    @property
    def forgets(self) -> bool:
        return False

    @property
    def linear(self) -> bool:
        return True


@dataclass(frozen=True)
class L2Retention(RetentionGate):
    """Local and global l2 (Titans' weight decay)."""

    @property
    def linear(self) -> bool:
        return True


@dataclass(frozen=True)
class LqRetention(RetentionGate):
    """l_q stability (MIRAS section 4.2, Moneta takes q = 4). The norm is taken per matrix.

    ``floor`` is ours. For q > 3 weights grow as A shrinks, and below a LayerNorm the surprise shrinks with A, so that
    nothing stops the two: with alpha = 1e-4 a million tokens of DNA took A to zero. At a border, an A with ||A||_q
    under the floor is lengthened to it; above the floor the printed recurrence is untouched.
    """

    q: float = 4.0
    exact: bool = False
    floor: float = 1e-2

    def __post_init__(self) -> None:
        if self.q <= 1:
            raise RangeError(f"lq retention: q must be greater than 1, found {self.q}")

    def _norm(self, a: Tensor) -> Tensor:
        """||A||_q^(q-2), finite with its gradient at A = 0."""
        powers = (a * a + _EPS).pow(self.q / 2).sum((-2, -1), keepdim=True)
        return powers.pow((self.q - 2) / self.q)

    @property
    def precise(self) -> bool:
        # A step of A is many of W (eleven where Moneta starts), and so is a rounding error.
        return True

    def link(self, a: Tensor) -> Tensor:
        if not self.exact:
            return a / self._norm(a)
        return a * (a * a + _EPS).pow((self.q - 2) / 2) / self._norm(a)

    def slope(self, a: Tensor) -> Tensor:
        if not self.exact:
            return 1 / self._norm(a)
        grown = (a * a + _EPS).pow((self.q - 2) / 2).mean(-1, keepdim=True)
        return (self.q - 1) * grown / self._norm(a)

    def border(self, a: Tensor, written: Tensor) -> Tensor:
        if self.floor == 0:
            return a
        length = (a * a + _EPS).pow(self.q / 2).sum((-2, -1), keepdim=True).pow(1 / self.q)
        return a * (self.floor / length).clamp(min=1)

    def dual(self, w: Tensor) -> Tensor:
        if float(w.abs().max()) == 0.0:
            # A = 0 has no direction and, for q > 2, no finite image: start small and mixed in sign.
            signs = torch.arange(w.numel(), dtype=w.dtype).view(w.shape).add(1).mul(2.399963).sin()
            w = 0.1 * signs
        if self.exact:
            w = torch.sign(w) * w.abs().pow(1 / (self.q - 1))
        if self.q == 3.0:
            return w
        norm = w.abs().pow(self.q).sum((-2, -1), keepdim=True).pow(1 / self.q)
        return w if self.exact else w * norm.pow((self.q - 2) / (3 - self.q))


@dataclass(frozen=True)
class KLRetention(RetentionGate):
    """Rows live on a scaled simplex (MIRAS Eq. 19-21, 27): W = c softmax(A). ``scale`` is c over the row's length."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise RangeError(f"kl retention: scale must be positive, found {self.scale}")

    @property
    def precise(self) -> bool:
        # Nearly equal outputs, whose differences LayerNorm enlarges: in float32 a stream cut in two would differ from
        # the whole by more than 1e-5.
        return True

    def link(self, a: Tensor) -> Tensor:
        return self.scale * a.shape[-1] * torch.softmax(a, -1)

    def slope(self, a: Tensor) -> Tensor:
        share = torch.softmax(a, -1)
        return self.scale * a.shape[-1] * (share * (1 - share)).mean(-1, keepdim=True)

    def border(self, a: Tensor, written: Tensor) -> Tensor:
        return torch.log_softmax(a, -1)

    def dual(self, w: Tensor) -> Tensor:
        # Logits of order 1: rows that are nearly uniform give nearly equal outputs, which LN would blow up.
        spread = w.square().mean().sqrt().clamp(min=_EPS)
        return torch.log_softmax(w / spread, -1)


@dataclass(frozen=True)
class ElasticNet(RetentionGate):
    """Soft and hard forgetting (MIRAS Eq. 22): weights under the threshold become exactly zero."""

    gamma: float = 1e-3

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise RangeError(f"elastic_net retention: gamma must not be negative, found {self.gamma}")

    def border(self, a: Tensor, written: Tensor) -> Tensor:
        return torch.sign(a) * torch.relu(a.abs() - self.gamma * written)


@dataclass(frozen=True)
class Bregman(RetentionGate):
    """F' = logit (MIRAS section 4.2): every weight stays in (0, 1)."""

    def link(self, a: Tensor) -> Tensor:
        return torch.sigmoid(a)

    def slope(self, a: Tensor) -> Tensor:
        w = torch.sigmoid(a)
        return (w * (1 - w)).mean(-1, keepdim=True)


GATES: dict[str, type[RetentionGate]] = {
    "none": NoRetention,
    "l2": L2Retention,
    "lq": LqRetention,
    "kl": KLRetention,
    "elastic_net": ElasticNet,
    "bregman": Bregman,
}


def make_gate(name: str, **options: float) -> RetentionGate:
    """The gate called ``name``; ``options`` are its fields (``q``, ``exact``, ``scale``, ``gamma``)."""
    if name not in GATES:
        raise unknown_name("retention gate", name, GATES)
    return GATES[name](**options)
