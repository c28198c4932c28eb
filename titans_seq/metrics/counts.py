"""What was seen before each position after the same context: exact, for every order, without a loop over positions.

The bases ``t - k .. t - 1`` are the context of base t. A coder that reads from left to right knows, at t, how often
each base followed that context so far. Sorting all positions by (context, position) puts the occurrences of a context
side by side in reading order; a running sum within each group, less the position's own entry, is that count.

With inverted repeats, every base t also adds the same event as the other strand reads it: after the reverse complement
of ``t - k + 1 .. t`` came the complement of base ``t - k``. It counts from position t + 1 on.
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from titans_seq.errors import RangeError

Tokens = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int32]
Number = TypeVar("Number", np.uint8, np.uint64)

LARGEST_ORDER: Final = 24
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)


def context_counts(
    tokens: Tokens, *, order: int, inverted_repeats: bool = False
) -> tuple[Counts, npt.NDArray[np.bool_]]:
    """Counts of A, C, G, T seen before each position after its context.

    Parameters
    ----------
    tokens : uint8 [T]
        0 to 3 for A, C, G, T; anything above is N, is not counted, and no context reaches across it.
    order : int
        Context length k, 0 to 24. Up to 16 (as far as ``2 k + log2(events) <= 64``) contexts are compared exactly;
        beyond, by a hash of at least 32 bits.
    inverted_repeats : bool
        Count the other strand, too.

    Returns
    -------
    counts : int32 [T, 4]
        Zero where there is no context.
    known : bool [T]
        True where the base and its k predecessors are all A, C, G or T.

    Example: ``AACAA`` with order 1: base 4 (A after A) has counts A 1, C 1, as "AA" and "AC" came before.

    Raises
    ------
    RangeError
        An order outside 0 to 24.
    """
    if not 0 <= order <= LARGEST_ORDER:
        raise RangeError(f"expected an order of 0 to {LARGEST_ORDER}, found {order}")
    known = contiguous(tokens, order)
    counts = np.zeros((tokens.size, 4), dtype=np.int32)
    at = np.flatnonzero(known)
    if at.size == 0:
        return counts, known
    keys = context_codes(tokens, order)[at]
    symbols = tokens[at]
    if inverted_repeats:
        keys = _interleave(keys, reverse_codes(tokens, order)[at])
        symbols = _interleave(symbols, np.uint8(3) - tokens[at - order])
    rank, fresh = _grouped(keys, bits=2 * order)
    ordered = symbols[rank]
    first = np.flatnonzero(fresh)
    sizes = np.diff(np.append(first, rank.size))
    if inverted_repeats:  # even entries are positions, odd ones what the other strand adds
        own = np.flatnonzero(rank % 2 == 0)
        rows = at[rank[own] // 2]
    else:
        own = np.arange(rank.size)
        rows = at[rank]
    for symbol in range(4):
        hits = ordered == symbol
        before = np.cumsum(hits, dtype=np.int32) - hits
        before -= np.repeat(before[first], sizes)
        counts[rows, symbol] = before[own]
    return counts, known


def contiguous(tokens: Tokens, order: int) -> npt.NDArray[np.bool_]:
    """True where a base and its `order` predecessors exist and none of them is N."""
    real = tokens < 4
    last_n = np.maximum.accumulate(np.where(real, -1, np.arange(tokens.size)))
    return np.asarray(real & (np.arange(tokens.size) - last_n > order))


def context_codes(tokens: Tokens, order: int) -> npt.NDArray[np.uint64]:
    """The `order` bases before each position as a number, the oldest in the highest place; N counts as A."""
    return _codes((tokens & np.uint8(3)).astype(np.uint64), order, lag=1)


def reverse_codes(tokens: Tokens, order: int) -> npt.NDArray[np.uint64]:
    """The reverse complement of the `order` bases that end at each position, itself included, as such a number."""
    codes = np.zeros(tokens.size, dtype=np.uint64)
    partner = (np.uint8(3) - (tokens & np.uint8(3))).astype(np.uint64)
    for back in range(order):
        codes[back:] |= partner[: tokens.size - back] << np.uint64(2 * (order - 1 - back))
    return codes


def _codes(bases: npt.NDArray[np.uint64], order: int, *, lag: int) -> npt.NDArray[np.uint64]:
    codes = np.zeros(bases.size, dtype=np.uint64)
    for back in range(order):
        shift = back + lag
        codes[shift:] |= bases[: bases.size - shift] << np.uint64(2 * back)
    return codes


def _interleave(first: npt.NDArray[Number], second: npt.NDArray[Number]) -> npt.NDArray[Number]:
    both = np.empty(2 * first.size, dtype=first.dtype)
    both[0::2] = first
    both[1::2] = second
    return both


def _grouped(keys: npt.NDArray[np.uint64], *, bits: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Positions sorted by (key, position), and where a new key begins; one sort of key and position in 64 bits."""
    width = max(int(keys.size - 1).bit_length(), 1)
    if bits + width > 64:
        keys = (keys * _MIX) >> np.uint64(width)
        bits = 64 - width
    packed = (keys << np.uint64(width)) | np.arange(keys.size, dtype=np.uint64)
    packed.sort()
    rank = (packed & np.uint64((1 << width) - 1)).astype(np.int64)
    packed >>= np.uint64(width)
    fresh = np.ones(keys.size, dtype=np.bool_)
    np.not_equal(packed[1:], packed[:-1], out=fresh[1:])
    return rank, fresh
