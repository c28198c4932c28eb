"""Bases behind the encoder's last border, which are read again with what follows them.

A memory is written in chunks. Where a chunk comes in two pieces its writes are summed in another order, and a trained
memory can make much of such a difference: over yeast's chromosome IV one of 1e-6 grew to 6, in vectors of at most 21.
So what is carried is the state at the last border and the few bases behind it. The chunk that they begin is read whole,
filled up with masked bases, as often as more of it has come: the numbers that are carried, and on a CPU those that are
given, are the same bits for any cut. A piece costs up to a chunk more for it; one that ends at a border, nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from titans_seq.tasks.base_context import UNKNOWN


@dataclass(frozen=True, slots=True)
class Pending:
    """Bases of parallel streams that the encoder's state does not hold yet.

    Attributes
    ----------
    tokens, mask : (B, P) int64 and bool
    features : float32 (B, P, F)
        What a table said of them; None without one.
    """

    tokens: Tensor
    mask: Tensor
    features: Tensor | None

    @property
    def length(self) -> int:
        """Bases P."""
        return self.tokens.shape[1]

    def then(self, other: Pending) -> Pending:
        """These and those behind them."""
        if self.features is None or other.features is None:
            features = None
        else:
            features = torch.cat([self.features, other.features], 1)
        tokens, mask = torch.cat([self.tokens, other.tokens], 1), torch.cat([self.mask, other.mask], 1)
        return Pending(tokens, mask, features)

    def filled(self, count: int) -> Pending:
        """These and ``count`` masked ones."""
        features = None if self.features is None else F.pad(self.features, (0, 0, 0, count))
        tokens = F.pad(self.tokens, (0, count), value=UNKNOWN)
        return Pending(tokens, F.pad(self.mask, (0, count), value=False), features)

    def behind(self, start: int) -> Pending | None:
        """Those from ``start`` on: copies, or None where there are none."""
        if start >= self.length:
            return None
        features = None if self.features is None else self.features[:, start:].clone()
        return Pending(self.tokens[:, start:].clone(), self.mask[:, start:].clone(), features)

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name."""
        named = {"tokens": self.tokens, "mask": self.mask}
        return named if self.features is None else {**named, "features": self.features}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The inverse of `tensors`."""
        return cls(tensors["tokens"], tensors["mask"], tensors.get("features"))
