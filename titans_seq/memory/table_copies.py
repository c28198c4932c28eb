"""Copies: where the last k tokens stood before, followed through mismatches, on either strand.

A copy predicts the token t + 1 from the place ``sign (t + 1) + offset`` of the same stream: ``sign`` is +1, or -1 for
the other strand, where the complement of what stands there is predicted. How well it did lately is the comparison of
two packed windows, the last W tokens here and there (W = 31 for an alphabet of four)::

    differs_t = window[t] XOR window[sign t + offset]          two bits a token
    misses_t  = tokens in which they differ,   run_t = tokens after the last difference

A copy that is followed stays as long as ``misses <= tolerance`` and no better one turns up; a new one is found where
the last k tokens were last written, and taken only if these k tokens agree (no chance hits of a hash). Within a chunk
the writes of the chunks before are visible, so all positions of a chunk are found at once; the choice at the chunk's
last position is what `Followed` carries on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from titans_seq.memory.table_packing import Packing


@dataclass(slots=True)
class Followed:
    """What each copy stood at, at the end of the last chunk; (B, P) each.

    Attributes
    ----------
    offset : int64
        See the module's text; meaningless where not `live`.
    live : bool
        There is a copy.
    clean : int64
        Positions in a row at which all W tokens agreed.
    """

    offset: Tensor
    live: Tensor
    clean: Tensor

    @classmethod
    def none(cls, rows: int, copies: int, *, device: torch.device) -> Followed:
        """Nothing is followed."""
        zero = torch.zeros(rows, copies, dtype=torch.long, device=device)
        return cls(zero, zero.bool(), zero.clone())


@dataclass(frozen=True, slots=True)
class CopyReading:
    """What the copies say at each position; int64 (B, T, P) each.

    Attributes
    ----------
    symbol
        The token predicted next; A (unknown) without a copy.
    source
        Where it stands in the stream; -1 without a copy.
    run
        Tokens that agreed in a row up to here, below W; from W on, W and the positions in a row at which all W agreed,
        which is one more. Weights that have been trained know these numbers.
    misses
        Of the last W tokens.
    """

    symbol: Tensor
    source: Tensor
    run: Tensor
    misses: Tensor


class Copies:
    """The rules; the state is the caller's.

    Parameters
    ----------
    copies : for each, its context length k (at most W) and whether it follows the other strand.
    tolerance : most misses of W with which a copy is kept.
    capacity : tokens that are kept, a power of two.
    """

    def __init__(
        self,
        copies: tuple[tuple[int, bool], ...],
        *,
        packing: Packing,
        tolerance: int,
        capacity: int,
        complement: Tensor | None,
        device: torch.device,
    ) -> None:
        self.packing, self.tolerance, self.capacity = packing, tolerance, capacity
        lengths = sorted({k for k, _ in copies})
        self._complement = complement
        self._k = torch.tensor([k for k, _ in copies], device=device)
        self._reverse = torch.tensor([reverse for _, reverse in copies], device=device)
        self._sign = torch.where(self._reverse, -1, 1)
        number = torch.tensor([lengths.index(k) for k, _ in copies], device=device)
        self._column = number + self._reverse * len(lengths)
        self._both = any(reverse for _, reverse in copies)
        masks = [(1 << (packing.bits * k)) - 1 for k, _ in copies]
        self._mask = torch.tensor(masks, device=device)

    def read(
        self,
        followed: Followed,
        found: Tensor,
        *,
        here: tuple[Tensor, Tensor],
        planes: tuple[Tensor, Tensor],
        tokens: Tensor,
        start: int,
    ) -> tuple[CopyReading, Followed]:
        """Follow or find copies at the positions ``start ..`` of a chunk.

        Parameters
        ----------
        followed : where the copies stood at the end of the chunk before.
        found : (B, T, 2 K'): where each k-mer, and then each k-mer's reverse complement, was last written (the
            position behind it), 0 for nowhere.
        here : packed windows (B, T) at these positions, latest token lowest, as read and complemented.
        planes : packed windows of the whole stream (B, capacity), latest lowest and oldest lowest.
        tokens : the stream (B, capacity) uint8.
        """
        length = found.shape[1]
        at = torch.arange(start, start + length, device=found.device)[None, :, None]
        place = found.index_select(-1, self._column)
        source = torch.where(self._reverse, place - self._k - 1, place)
        new = source - self._sign * (at + 1)
        window = torch.where(self._reverse, here[1][..., None], here[0][..., None])
        # A new copy must agree in its k tokens; from there on it is followed like the old one.
        agrees = ((window ^ self._windows(planes, new, at)) & self._mask) == 0
        latest = torch.where((place > 0) & agrees & self._inside(source, at), at, -1).cummax(1).values
        filled = new.gather(1, (latest - start).clamp(min=0))
        both = torch.stack([followed.offset[:, None].expand_as(new), filled])
        misses, run = self.packing.compare(window, self._windows(planes, both, at))
        able = (misses <= self.tolerance) & self._inside(self._sign * (at + 1) + both, at)
        keep = (followed.live[:, None] & able[0]).to(torch.uint8).cummin(1).values.bool()
        fresh = (latest >= 0) & able[1]
        turn = fresh & (~keep | (misses[1] < misses[0]))
        live = keep | fresh
        offset, misses, run = (torch.where(turn, pair[1], pair[0]) for pair in (both, misses, run))
        misses = misses * live
        clean = self._clean(live & (misses == 0), followed.clean, at - start)
        run = (run + clean) * live
        source = self._sign * (at + 1) + offset
        symbol = self._wrapped(tokens, source).long()
        if self._complement is not None:
            symbol = torch.where(self._reverse, self._complement[symbol], symbol)
        symbol = torch.where(live, symbol, self.packing.alphabet)
        source = torch.where(live, source, -1)
        after = Followed(*(value[:, -1].contiguous() for value in (offset, live, clean)))
        return CopyReading(symbol, source, run, misses), after

    def _windows(self, planes: tuple[Tensor, Tensor], offset: Tensor, at: Tensor) -> Tensor:
        """The packed window beside the copy: the W tokens before its source, or behind it on the other strand."""
        aligned = self._sign * at + offset
        aligned = torch.where(self._reverse, aligned + (self.packing.width - 1), aligned)
        latest = self._wrapped(planes[0], aligned)
        return torch.where(self._reverse, self._wrapped(planes[1], aligned), latest) if self._both else latest

    def _wrapped(self, plane: Tensor, place: Tensor) -> Tensor:
        """Entries (..., B, T, P) of a plane (B, capacity) at places of the stream."""
        rows = torch.arange(len(plane), device=plane.device)[:, None, None] * self.capacity
        return plane.view(-1).take(rows + (place & (self.capacity - 1)))

    def _inside(self, source: Tensor, at: Tensor) -> Tensor:
        """Whether a source, and on the other strand the window behind it, is known at ``at`` and still kept."""
        last = torch.where(self._reverse, source + self.packing.width, source)
        return (source >= 0) & (last <= at) & (source > at - self.capacity + 2 * self.packing.width)

    def _clean(self, clean: Tensor, before: Tensor, place: Tensor) -> Tensor:
        """Positions in a row, up to each, at which `clean` holds; `before` counts those in front of the chunk."""
        last = torch.where(clean, -1, place).cummax(1).values
        return torch.where(last < 0, before[:, None] + place + 1, place - last)
