"""Keys of the table: the last k tokens of a stream as a number, for several k at once, read either way.

For a window of tokens s and a position t, with A the size of the alphabet and M an odd constant::

    code_k(t) = sum_{j < k} s_{t-j} A^j                       exact; where A^k slots are affordable
    hash_k(t) = sum_{j < k} (s_{t-j} + 1) M^j  mod 2^64       everywhere else

The other strand reads ``c(s_t), c(s_{t-1}), ...`` with c the complement. What it has read when it comes to ``t - k``
are ``c(s_t) .. c(s_{t-k+1})``, the last of which counts as j = 0; the same two sums are taken over these.

Both come from sums over the window, without a loop over k: the codes from one product with powers of A in float64
(below 2^53, so exact), the hashes from differences of ``sum_i (s_i + 1) M^-i``, as M has an inverse modulo 2^64. They
depend on the tokens alone and not on where the window begins, so any cut of a stream gives the same keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from titans_seq.memory.table_packing import Packing

_M: Final = 0x9E3779B97F4A7C15
_FINAL: Final = 0xBF58476D1CE4E5B9
_WORD: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Keys:
    """Where each context lies, and the window itself.

    Attributes
    ----------
    slot : int64 (B, T, K)
        Slot within the region of its order.
    tag : int16 (B, T, K)
        Check bits, never 0; the parity of the slot, plus 1, where it is a code.
    latest_low, oldest_low : int64 (B, T)
        The last W tokens as `Packing` writes them.
    """

    slot: Tensor
    tag: Tensor
    latest_low: Tensor
    oldest_low: Tensor


class ContextKeys:
    """Keys of several orders over windows of a stream.

    Parameters
    ----------
    orders : context lengths.
    slots : slots of each order's region: A^k, addressed by the code, or a power of two, addressed by the hash.
    packing : of the alphabet.
    longest : longest window, in tokens.
    """

    def __init__(
        self, orders: tuple[int, ...], *, slots: tuple[int, ...], packing: Packing, longest: int, device: torch.device
    ) -> None:
        self.packing = packing
        coded = [number for number, k in enumerate(orders) if slots[number] == packing.alphabet**k]
        hashed = [number for number in range(len(orders)) if number not in coded]
        self._order = torch.tensor(coded + hashed, device=device).argsort()
        self.depth = max([orders[number] for number in coded] + [packing.width])
        # Rows run from the oldest token of a window to the newest.
        weights = torch.zeros(2, self.depth, len(coded), dtype=torch.float64)
        for column, number in enumerate(coded):
            scale = torch.tensor([float(packing.alphabet**j) for j in range(orders[number])], dtype=torch.float64)
            weights[0, self.depth - len(scale) :, column] = scale.flip(0)
            weights[1, self.depth - len(scale) :, column] = scale
        packed = packing.columns(self.depth).expand(2, -1, -1)
        self._weights = torch.cat([weights, packed], -1).to(device)
        self._k = torch.tensor([orders[number] for number in hashed], dtype=torch.long, device=device)
        self._mask = torch.tensor([slots[number] - 1 for number in hashed], dtype=torch.long, device=device)
        self._up = powers(longest + 1).to(device)
        self._down = powers(longest + 1, inverse=True).to(device)

    def forward(self, window: Tensor, *, first: int) -> Keys:
        """Contexts that end at ``first ..`` of a window (B, L), itself included; unknown tokens count as 0."""
        sums, last = _sums(window, self._down, first)
        hashes = (sums[:, last] - sums[:, last - self._k]) * self._up[last - 1]
        return self._keys(window, first, hashes, strand=0)

    def reverse(self, window: Tensor, *, first: int) -> Keys:
        """The same for the other strand; ``window`` (B, L) holds the complements."""
        sums, last = _sums(window, self._up, first)
        hashes = (sums[:, last] - sums[:, last - self._k]) * self._down[last - self._k]
        return self._keys(window, first, hashes, strand=1)

    def _keys(self, window: Tensor, first: int, hashes: Tensor, *, strand: int) -> Keys:
        views = window[:, first - self.depth + 1 :].double().unfold(1, self.depth, 1)
        codes, halves = (views @ self._weights[strand]).long().tensor_split([-4], -1)
        mixed = (hashes ^ (hashes >> 31)) * (_FINAL - _WORD)
        # The tag takes bits that the slot does not: up to 2^28 slots.
        tag = torch.cat([(codes & 1) + 1, ((mixed >> 45) & 0x7FFF).clamp(min=1)], -1)
        slot = torch.cat([codes, (mixed >> 17) & self._mask], -1)
        latest, oldest = self.packing.joined(halves)
        return Keys(slot.index_select(-1, self._order), tag.index_select(-1, self._order).short(), latest, oldest)


def _sums(window: Tensor, powers: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Sums of ``(s_i + 1) M^i`` before each place, and how many tokens are summed at ``first ..``, as a column."""
    sums = F.pad(torch.cumsum((window + 1) * powers[: window.shape[1]], 1), (1, 0))
    return sums, torch.arange(first + 1, window.shape[1] + 1, device=window.device)[:, None]


def powers(count: int, *, inverse: bool = False) -> Tensor:
    """``M^i mod 2^64``, or ``M^-i``, as signed 64-bit numbers (count,)."""
    base = pow(_M, -1, _WORD) if inverse else _M
    values, value = [], 1
    for _ in range(count):
        values.append(value - _WORD if value >= _WORD // 2 else value)
        value = value * base % _WORD
    return torch.tensor(values)
