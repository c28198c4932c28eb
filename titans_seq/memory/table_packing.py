"""Tokens side by side in a 64-bit number, so that two windows are compared in a few operations."""

from __future__ import annotations

import torch
from torch import Tensor


class Packing:
    """``W = 62 // bits`` tokens in one number; 31 bases, 15 tokens of an alphabet of 16, 7 of 256.

    Two orders: *latest low* has the latest token in the lowest bits, *oldest low* the oldest.
    """

    def __init__(self, alphabet: int) -> None:
        self.alphabet = alphabet
        self.bits = max(1, (alphabet - 1).bit_length())
        self.width = 62 // self.bits
        self._half = (self.width + 1) // 2
        self._low = sum(1 << (self.bits * place) for place in range(self.width))

    def columns(self, depth: int) -> Tensor:
        """Weights (depth, 4) of a window's tokens, oldest first: the halves of *latest low*, and of *oldest low*.

        In float64: half a number is below 2^53 and thus exact.
        """
        columns = torch.zeros(depth, 4, dtype=torch.float64)
        for age in range(self.width):
            for column, place in ((0, age), (2, self.width - 1 - age)):
                upper = place >= self._half
                columns[depth - 1 - age, column + upper] = 2.0 ** (self.bits * (place - self._half * upper))
        return columns

    def joined(self, halves: Tensor) -> tuple[Tensor, Tensor]:
        """Both orders (...) from the four sums int64 (..., 4)."""
        numbers = halves[..., 0::2] | (halves[..., 1::2] << (self.bits * self._half))
        return numbers[..., 0], numbers[..., 1]

    def compare(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens that differ, and tokens in a row that agree from the lowest bits on."""
        bits = first ^ second
        differs = bits
        for place in range(1, self.bits):
            differs = differs | (bits >> place)
        differs = differs & self._low
        below = ((differs & -differs) - 1) & self._low
        misses, run = _popcount(torch.stack([differs, below]))
        return misses, torch.where(differs == 0, self.width, run)


def _popcount(x: Tensor) -> Tensor:
    """Bits that are set in numbers from 0 to 2^62."""
    x = x - ((x >> 1) & 0x5555555555555555)
    x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
    return ((x * 0x0101010101010101) >> 56) & 0x7F
