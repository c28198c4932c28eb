"""One vector per row from a vector per token, taken in call by call."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from titans_seq.errors import unknown_name

PoolName = Literal["mean", "max", "last"]
POOLS: tuple[str, ...] = get_args(PoolName)


class Pool:
    """Mean, maximum or last of the vectors of real tokens; zeros for a row that has none.

    Parameters
    ----------
    name
        ``mean``, ``max`` or ``last``.
    rows, width
        Shape of the result.
    """

    def __init__(self, name: str, *, rows: int, width: int, device: torch.device) -> None:
        if name not in POOLS:
            raise unknown_name("pool", name, POOLS)
        self.name = name
        start = -torch.inf if name == "max" else 0.0
        self._held = torch.full((rows, width), start, dtype=torch.float64, device=device)
        self._count = torch.zeros(rows, 1, dtype=torch.float64, device=device)

    def add(self, vectors: Tensor, real: Tensor) -> None:
        """Take in the vectors (B, T, d) of the next tokens, those where ``real`` (B, T) is True."""
        if self.name == "mean":
            self._held += torch.where(real[..., None], vectors, 0.0).sum(1, dtype=torch.float64)
        elif self.name == "max":
            highest = torch.where(real[..., None], vectors, -torch.inf).amax(1).double()
            self._held = torch.maximum(self._held, highest)
        else:
            at = torch.where(real, torch.arange(real.shape[1], device=real.device), -1).amax(1)
            newest = vectors[torch.arange(len(at), device=real.device), at.clamp(min=0)].double()
            self._held = torch.where((at >= 0)[:, None], newest, self._held)
        self._count += real.sum(1, keepdim=True)

    def result(self) -> Tensor:
        """(B, d) float32."""
        pooled = self._held / self._count.clamp(min=1) if self.name == "mean" else self._held
        return torch.where(self._count > 0, pooled, 0.0).float()
