"""Slots of the table: counts of what followed a context, with check bits; all orders and rows in one flat plane.

A context may lie in either of two neighbouring slots. Reading looks at both; a context that is new takes the one that
is free, else the one that is less certain (fewer counts), and what stood there is forgotten. Where several new contexts
of one chunk want the same slot, the largest check bits win and the others are dropped: the result does not depend on
the order in which a device carries the writes out.

Counts are halved before a write where one of them has reached `CAP`, so old sights weigh less than new ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

CAP: Final = 120
"""A chunk adds at most 128 to a count (64 tokens, two strands), and 8 bits hold 255."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Two neighbouring slots as they stand: tags (..., 2) and counts (..., 2, A)."""

    tags: Tensor
    counts: Tensor

    def of(self, tag: Tensor) -> Tensor:
        """Counts of the contexts with these check bits (...), zero where there are none: uint8 (..., A)."""
        match = self.tags == tag.unsqueeze(-1)
        return torch.where(match[..., 0:1], self.counts[..., 0, :], self.counts[..., 1, :] * match[..., 1:2])


@dataclass(slots=True)
class Slots:
    """The planes; changed in place.

    Attributes
    ----------
    counts : uint8 (rows x slots, A)
    tags : int16 (rows x slots)
        Check bits; 0 where nothing was written.
    """

    counts: Tensor
    tags: Tensor

    @classmethod
    def empty(cls, size: int, *, alphabet: int, device: torch.device) -> Slots:
        """Nothing written yet."""
        return cls(
            torch.zeros(size, alphabet, dtype=torch.uint8, device=device),
            torch.zeros(size, dtype=torch.int16, device=device),
        )

    def look(self, slot: Tensor) -> Bucket:
        """Both slots in which the contexts whose own slot this is, int64 (...), may lie."""
        pair = (slot >> 1).flatten()
        tags = self.tags.view(-1, 2).index_select(0, pair)
        counts = self.counts.view(-1, 2 * self.counts.shape[1]).index_select(0, pair)
        return Bucket(tags.view(*slot.shape, 2), counts.view(*slot.shape, 2, -1))

    def add(self, slot: Tensor, tag: Tensor, symbol: Tensor, *, moves: Tensor, bucket: Bucket) -> None:
        """Count what followed each context; at most 128 events may meet in a slot.

        Parameters
        ----------
        slot, tag, symbol : (events,)
            Each context's own slot, its check bits, and the token to count.
        moves : bool (events,)
            The context may also lie in the neighbouring slot.
        bucket : what `look` gave for ``slot``; nothing was added since.
        """
        match = bucket.tags == tag[:, None]
        found = match.any(-1)
        sure = bucket.counts.sum(-1, dtype=torch.int16)
        own = slot & 1
        free = torch.where(moves, (sure[:, 1] < sure[:, 0]).long(), own)
        side = torch.where(found, match[:, 1].long(), free)
        slot = slot - own + side
        claimed = (~found).nonzero().flatten()
        taken, new = slot[claimed], tag[claimed]
        self.tags.index_fill_(0, taken, 0)
        self.counts.index_fill_(0, taken, 0)
        self.tags.scatter_reduce_(0, taken, new, "amax")
        before = torch.where(side.bool()[:, None], bucket.counts[:, 1], bucket.counts[:, 0])
        won = self.tags.index_select(0, slot) == tag
        full = (found & won & (before >= CAP).any(-1)).nonzero().flatten()
        if len(full):
            self.counts[slot[full]] = before[full] >> 1
        self.counts.view(-1).scatter_add_(0, slot * self.counts.shape[1] + symbol, won.to(torch.uint8))
