"""The four choices of a memory, the gates that drive it, and the state it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from titans_seq.errors import RangeError
from titans_seq.ops.biases import AttentionalBias
from titans_seq.ops.retention import RetentionGate
from titans_seq.ops.structures import Structure


@dataclass(frozen=True)
class MemoryRule:
    """Structure, attentional bias, retention gate and algorithm: a point of the MIRAS space.

    Parameters
    ----------
    structure, bias, retention : the first three choices.
    momentum : the fourth: gradient descent (False), or with a running surprise S (True).
    max_error : longest error vector a token may write with; longer ones are shortened to it. A clip per token is
        what keeps a linear memory finite; clamping the weights' Frobenius norm is not enough (design 3.7).
    """

    structure: Structure
    bias: AttentionalBias
    retention: RetentionGate
    momentum: bool = False
    max_error: float | None = None

    def __post_init__(self) -> None:
        if self.max_error is not None and not self.max_error > 0:
            raise RangeError(f"max_error must be positive, found {self.max_error}")

    def error(self, r: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
        """The bias's error, shortened to ``max_error``."""
        e = self.bias.error(r, v, threshold)
        if self.max_error is None:
            return e
        return e * (self.max_error / _length(e)).clamp(max=1)

    def error_vjp(
        self, r: Tensor, v: Tensor, threshold: Tensor | None, ebar: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Adjoints of `error` with respect to (r, v, threshold)."""
        if self.max_error is not None:
            e = self.bias.error(r, v, threshold)
            n = _length(e)
            short = self.max_error / n
            along = (ebar * e).sum(-1, keepdim=True) / (n * n)
            ebar = torch.where(short < 1, short * (ebar - along * e), ebar)
        return self.bias.error_vjp(r, v, threshold, ebar)


def _length(e: Tensor) -> Tensor:
    return (e * e).sum(-1, keepdim=True).add(1e-12).sqrt()


@dataclass(frozen=True)
class Gates:
    """What drives the memory, per token and head.

    Parameters
    ----------
    learning_rate : theta_t >= 0, (B, H, T).
    forget : alpha_t in [0, 1), (B, H, T), or None.
    momentum : eta_t in [0, 1), (B, H, T), or None where the rule has no momentum.
    threshold : delta_t > 0, (B, H, T), where the bias uses one.
    mask : (B, T) bool, False where the token must leave the memory untouched (N, missing, padding): neither
        written, nor decayed, nor carried on by momentum. (The design asks theta = alpha = 0; with momentum that
        alone would still move W by eta_t S, so a masked token also skips the momentum step.)
    """

    learning_rate: Tensor
    forget: Tensor | None = None
    momentum: Tensor | None = None
    threshold: Tensor | None = None
    mask: Tensor | None = None

    def slice(self, start: int, stop: int) -> Gates:
        """The same gates for tokens [start, stop)."""
        forget, momentum, threshold, mask = (
            None if x is None else x[..., start:stop] for x in (self.forget, self.momentum, self.threshold, self.mask)
        )
        return Gates(self.learning_rate[..., start:stop], forget, momentum, threshold, mask)


@dataclass(frozen=True)
class MemoryState:
    """Everything a memory carries from token to token; all tensors have fixed size.

    Attributes
    ----------
    weights : dual variable A (equal to W for linear gates), (B, H, size).
    momentum : running surprise S, (B, H, size), or None.
    anchor : A at the last chunk border, where gradients are taken, (B, H, size).
    written : sum of theta_t since the last border, (B, H).
    position : tokens read so far; chunk borders are its multiples of the chunk size.
    """

    weights: Tensor
    momentum: Tensor | None
    anchor: Tensor
    written: Tensor
    position: int = 0

    @staticmethod
    def fresh(rule: MemoryRule, start: Tensor, batch: int) -> MemoryState:
        """State before the first token, from a start A_0 of shape (H, size)."""
        weights = start.expand(batch, *start.shape)
        momentum = torch.zeros_like(weights) if rule.momentum else None
        return MemoryState(weights, momentum, weights, weights.new_zeros(weights.shape[:2]))

    def map(self, fn: object) -> MemoryState:
        """The state with ``fn`` applied to every tensor."""
        assert callable(fn)
        return replace(
            self,
            weights=fn(self.weights),
            momentum=None if self.momentum is None else fn(self.momentum),
            anchor=fn(self.anchor),
            written=fn(self.written),
        )
