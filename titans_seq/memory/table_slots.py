"""Slots of the table: counts of what followed a context, with check bits; all orders and rows in one flat plane.

A context may lie in either of two neighbouring slots. Reading looks at both; a context that is new takes the one that
is free, else the one that is less certain (fewer counts), and what stood there is forgotten. Where several new contexts
of one chunk want the same slot, the largest check bits win and the others are dropped: the result does not depend on
the order in which a device carries the writes out.

Counts are halved before a write where one of them has reached `CAP`, so old sights weigh less than new ones. Where only
the unexpected is stored, an event is passed over if, before any write of its chunk, its context was certain of it::

    n[symbol] >= certain  and  n[a] = 0 for all other a

This asks the counts of the last chunk border alone, so it holds for any cut and any order of the events, too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import torch
from torch import Tensor

from titans_seq.memory.table_pages import zeros_in_large_pages

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
    """The plane of all buckets; changed in place. One bucket lies in one place, so that one access reaches all of it.

    Attributes
    ----------
    plane : uint8 (rows x slots / 2, 2 A + 4)
        Counts of both slots of a bucket, then their check bits of 16 each, which are 0 where nothing was written.
    """

    plane: Tensor

    @classmethod
    def empty(cls, size: int, *, alphabet: int, device: torch.device) -> Slots:
        """Nothing written yet in so many slots, an even number."""
        return cls(zeros_in_large_pages(size // 2, 2 * alphabet + 4, dtype=torch.uint8, device=device))

    @property
    def alphabet(self) -> int:
        """Tokens that are counted."""
        return self.plane.shape[1] // 2 - 2

    def look(self, slot: Tensor) -> Bucket:
        """Both slots in which the contexts whose own slot this is, int64 (...), may lie."""
        found = self.plane.index_select(0, (slot >> 1).flatten())
        counts, tags = found.tensor_split([2 * self.alphabet], 1)
        tags = tags.contiguous().view(torch.int16)
        return Bucket(tags.view(*slot.shape, 2), counts.reshape(*slot.shape, 2, self.alphabet))

    def find(self, slot: Tensor, tag: Tensor) -> tuple[Bucket, Tensor]:
        """`look`, and of what it finds the counts of the contexts with these check bits, uint8 (..., A)."""
        kernels = kernels_for(self.plane)
        if kernels is None:
            bucket = self.look(slot)
            return bucket, bucket.of(tag)
        tags, counts, said = kernels.look_up(self.plane, slot, tag)
        return Bucket(tags, counts), said

    def add(
        self, slot: Tensor, tag: Tensor, symbol: Tensor, *, moves: Tensor, bucket: Bucket, certain: int = 0
    ) -> None:
        """Count what followed each context; at most 128 events may meet in a slot.

        Parameters
        ----------
        slot, tag, symbol : (events,)
            Each context's own slot, its check bits, and the token to count.
        moves : bool (events,)
            The context may also lie in the neighbouring slot.
        bucket : what `look` gave for ``slot``; nothing was added since.
        certain : sights of ``symbol`` alone from which on it is passed over; 0 counts every event.
        """
        kernels = kernels_for(self.plane)
        if kernels is not None:
            kernels.add(
                self.plane, slot, tag, symbol, moves=moves, tags=bucket.tags, counts=bucket.counts, cap=CAP,
                certain=certain,
            )  # fmt: skip
            return
        match = bucket.tags == tag[:, None]
        found = match.any(-1)
        sure = bucket.counts.sum(-1, dtype=torch.int16)
        own = slot & 1
        free = torch.where(moves, (sure[:, 1] < sure[:, 0]).long(), own)
        side = torch.where(found, match[:, 1].long(), free)
        before = torch.where(side.bool()[:, None], bucket.counts[:, 1], bucket.counts[:, 0])
        if certain:
            told = before.gather(1, symbol[:, None]).squeeze(1)
            passed = found & (told >= certain) & (told == before.sum(-1, dtype=torch.int16))
            kept = (~passed).nonzero().flatten()
            slot, tag, symbol, found, side, before = (
                value.index_select(0, kept) for value in (slot, tag, symbol, found, side, before)
            )
        # Where the slot's check bits lie in the plane, in units of 16 bits, and its counts, in bytes.
        tag_at = (slot >> 1) * (self.alphabet + 2) + self.alphabet + side
        count_at = (slot >> 1) * self.plane.shape[1] + side * self.alphabet
        every = torch.arange(self.alphabet, device=slot.device)
        tags, counts = self.plane.view(torch.int16).view(-1), self.plane.view(-1)
        claimed = (~found).nonzero().flatten()
        taken = tag_at[claimed]
        tags.index_fill_(0, taken, 0)
        counts.index_fill_(0, (count_at[claimed, None] + every).flatten(), 0)
        tags.scatter_reduce_(0, taken, tag[claimed], "amax")
        won = tags.index_select(0, tag_at) == tag
        full = (found & won & (before >= CAP).any(-1)).nonzero().flatten()
        if len(full):
            counts[count_at[full, None] + every] = before[full] >> 1
        counts.scatter_add_(0, count_at + symbol, won.to(torch.uint8))


def kernels_for(plane: Tensor) -> Any:
    """The Triton kernels for a plane on a GPU that divides into words of 32 bits; None where torch does the work.

    Only where ``TITANS_SEQ_TABLE_KERNELS=1`` asks for them: they have run under the interpreter, not on a card yet.
    """
    asked = os.environ.get("TITANS_SEQ_TABLE_KERNELS") == "1"
    if not asked or not plane.is_cuda or plane.numel() % 4 or find_spec("triton") is None:
        return None
    return import_module("titans_seq.ops.triton.table")
