"""Where rows and chunks lie: equal rows, or sequences of any length packed behind each other.

A *row* is one memory: a (batch row, head), or a (packed sequence, head). Tokens keep their place; what belongs to a
chunk (coefficients, states) is numbered row after row, and a row's last chunk may be short.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from titans_seq.ops.rule import Gates


@dataclass(frozen=True)
class Layout:
    """Addresses of rows and chunks.

    Attributes
    ----------
    base, length, first : per row, the first token (int64), the number of tokens and the first chunk (int32).
    row_of : the row of every chunk (int32).
    slots : place of every token in (chunks * C), for packed rows; None where all rows are equally long.
    tokens : of all rows together. longest : chunks of the longest row. chunk : C.
    """

    base: Tensor
    length: Tensor
    first: Tensor
    row_of: Tensor
    slots: Tensor | None
    tokens: int
    longest: int
    chunk: int

    @property
    def rows(self) -> int:
        return self.base.numel()

    @property
    def chunks(self) -> int:
        return self.row_of.numel()

    @property
    def borders(self) -> tuple[Tensor, Tensor]:
        """First and last border of every row; a row of n chunks has n + 1."""
        begin = self.first.long() + torch.arange(self.rows, device=self.first.device)
        return begin, begin + -(-self.length.long() // self.chunk)

    def closing(self, offset: int) -> Tensor:
        """How many chunks of every row close, where its first token is number ``offset`` of its chunk."""
        return (self.length + offset) // self.chunk

    def pad(self, x: Tensor) -> Tensor:
        """Per-token numbers laid out by chunk, (chunks, C); what no token fills is 0."""
        if self.slots is None:
            width = self.tokens // self.rows
            return F.pad(x.reshape(self.rows, width), (0, -width % self.chunk)).view(-1, self.chunk)
        flat = x.new_zeros(self.chunks * self.chunk)
        return flat.index_copy(0, self.slots, x.flatten()).view(-1, self.chunk)


def equal_rows(rows: int, tokens: int, chunk: int, device: torch.device) -> Layout:
    """``rows`` memories of ``tokens`` tokens each."""
    n = -(-tokens // chunk)
    row = torch.arange(rows, device=device)
    return Layout(
        row * tokens, torch.full((rows,), tokens, dtype=torch.int32, device=device), (row * n).int(),
        row.repeat_interleave(n).int(), None, rows * tokens, n, chunk,
    )  # fmt: skip


def packed_rows(cu_seqlens: Tensor, heads: int, chunk: int) -> Layout:
    """Sequences [cu_seqlens[s], cu_seqlens[s + 1]) of one token axis, ``heads`` memories for each."""
    edges = cu_seqlens.long()
    device, total = edges.device, int(edges[-1])
    length = edges.diff()
    n = -(-length // chunk)
    head = torch.arange(heads, device=device)
    base = (edges[:-1, None] + head * total).flatten()  # (sequences, heads)
    lengths, counts = length.repeat_interleave(heads), n.repeat_interleave(heads)
    first = counts.cumsum(0) - counts
    row_of = torch.arange(len(base), device=device).repeat_interleave(counts)
    sequence = torch.arange(len(length), device=device).repeat_interleave(length)  # of every token
    inside = torch.arange(total, device=device) - edges[sequence]
    slots = first.view(-1, heads)[sequence].T * chunk + inside  # (heads, tokens)
    return Layout(base, lengths.int(), first.int(), row_of.int(), slots.flatten(), heads * total, int(n.max()), chunk)


def logarithms(gates: Gates, mask: Tensor | None, layout: Layout) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """theta, sums of log(1 - alpha) and of log(eta) (float64) since the chunk's start, and live: all (chunks, C).

    As `titans_seq.ops.coefficients`: a masked token has theta = 0 and changes no sum.
    """
    theta = layout.pad(gates.learning_rate)
    # 0 also where a short chunk has no token: there, too, momentum must not go on moving the weights
    live = layout.pad(torch.ones_like(gates.learning_rate) if mask is None else mask.to(theta.dtype))
    theta = theta * live

    def cumulated(log: Tensor) -> Tensor:
        return (layout.pad(log) * live).double().cumsum(-1)

    kept = torch.zeros_like(theta, dtype=torch.float64)
    if gates.forget is not None:
        # 1 - eps, not 1: the logarithm's gradient must stay finite where a gate saturates.
        kept = cumulated(torch.log1p(-gates.forget.clamp(max=1 - torch.finfo(theta.dtype).eps / 2)))
    if gates.momentum is None:
        return theta, kept, None, live
    return theta, kept, cumulated(torch.log(gates.momentum.clamp(min=torch.finfo(theta.dtype).tiny))), live


def pair(sums: Tensor) -> Tensor:
    """float64 sums (chunks, C) as float32 high and low parts, (chunks, 2, C)."""
    high = sums.float()
    return torch.stack([high, (sums - high.double()).float()], 1)
