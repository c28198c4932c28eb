"""What a position knows of the bases just before it, as a vector: the input of a DNA encoder.

Two views of the same recent bases are added up:

    x_t = sum_{j < window} F[j, s_{t-j}]  +  sum_k P_k L_k[kmer_k(t)]

- ``F`` (window, 5, d): a linear map of the one-hot columns of the last ``window`` bases, this one included;
- ``L_k`` (4^k + 1, r): a look-up of the last k bases, mapped to the model's width by ``P_k`` (r, d).

A k-mer that holds an unknown base (N), or reaches before the stream's first base, has the table's last row. The bases
before the first token of a call are the caller's to keep (the *tail*), so a cut anywhere changes nothing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.ops.linear import Linear, linear

UNKNOWN = 4
"""Token of a base that is not A, C, G or T."""

N_TOKENS = 5


def kmer_ids(tokens: Tensor, k: int) -> Tensor:
    """Number the k-mer that ends at each position, in base 4.

    ``A C G T -> 0 1 2 3``; with k = 2, ``A C N G T -> (unknown) 1 (unknown) (unknown) 11``, where unknown is 4^k.

    Parameters
    ----------
    tokens
        Integer tokens, (..., T).
    k
        Length of the k-mers.

    Returns
    -------
    Tensor
        int64, (..., T); the first k - 1 positions are unknown.
    """
    tokens = tokens.long()
    padded = F.pad(tokens, (k - 1, 0), value=UNKNOWN)
    length = tokens.shape[-1]
    number = torch.zeros_like(tokens)
    known = torch.ones_like(tokens, dtype=torch.bool)
    for j in range(k):
        step = padded[..., j : j + length]
        number = number * 4 + step.clamp(max=3)
        known &= step < UNKNOWN
    return torch.where(known, number, 4**k)


class BaseContext(nn.Module):
    """Vectors of recent bases; see the module's text for the equation.

    Parameters
    ----------
    d_model
        Width of the vectors.
    window
        Bases of the one-hot view, this one included.
    kmers
        Lengths of the k-mers looked up; may be empty.
    kmer_width
        Width of a row of the tables.
    """

    def __init__(self, *, d_model: int, window: int = 16, kmers: Sequence[int] = (4, 8), kmer_width: int = 16) -> None:
        super().__init__()
        self.window = window
        self.kmers = tuple(kmers)
        self.tail_length = max((window, *self.kmers)) - 1
        self.window_map = Linear(N_TOKENS * window, d_model, bias=False)
        tables = [nn.Embedding(4**k + 1, kmer_width) for k in self.kmers]
        table_maps = [Linear(kmer_width, d_model, bias=False) for _ in self.kmers]
        # One column is lit for each base of the window, so the fan-in is the window and not its columns.
        nn.init.normal_(self.window_map.weight, std=window**-0.5)
        for table, table_map in zip(tables, table_maps, strict=True):
            # A k-mer that was never seen says nothing.
            nn.init.zeros_(table.weight)
            nn.init.normal_(table_map.weight, std=kmer_width**-0.5)
        self.tables = nn.ModuleList(tables)
        self.table_maps = nn.ModuleList(table_maps)

    def empty_tail(self, rows: int, *, device: torch.device) -> Tensor:
        """Give the tail of streams that have not begun: unknown bases, (rows, tail_length) int64."""
        return torch.full((rows, self.tail_length), UNKNOWN, dtype=torch.long, device=device)

    def forward(self, tokens: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """Embed ``tokens`` (B, T) int64 behind ``tail`` (B, tail_length): vectors (B, T, d_model) and the new tail."""
        joined = torch.cat([tail, tokens], dim=1)
        length = tokens.shape[1]
        start = self.tail_length - (self.window - 1)
        columns = F.one_hot(joined[:, start:], N_TOKENS).to(self.window_map.weight.dtype)
        columns = columns.unfold(1, self.window, 1)  # (B, T, 5, window)
        views = [columns.reshape(*tokens.shape, -1)]
        views += [table(kmer_ids(joined, k)[:, -length:]) for k, table in zip(self.kmers, self.tables, strict=True)]
        # One map of all views, rather than a sum of maps: each of them would write and read d_model numbers a base.
        maps = [self.window_map, *self.table_maps]
        x = linear(torch.cat(views, dim=-1), torch.cat([one.weight for one in maps], dim=1))
        return x, joined[:, joined.shape[1] - self.tail_length :]
