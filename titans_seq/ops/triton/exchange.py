"""What programs that share a row tell each other: partial sums, and, within one launch, that these are there.

Sums lie in two slots, for chunks of even and odd number: who writes the next chunk's has seen every program arrive
there, and so has every program read the chunk's before.
"""

from __future__ import annotations

import triton
import triton.language as tl

APART = tl.constexpr(32)  # a counter has a cache line of its own


@triton.jit
def own_part(parts, i, row, rows, part, SLICES: tl.constexpr, C: tl.constexpr, V: tl.constexpr):
    """Where slice ``part`` of ``row`` keeps its (C, V) numbers of chunk ``i``; parts (2, rows, SLICES, C, V)."""
    return parts + (((i & 1) * rows + row) * SLICES + part).to(tl.int64) * (C * V)


@triton.jit
def gathered(parts, i, row, rows, place, SLICES: tl.constexpr, C: tl.constexpr, V: tl.constexpr):
    """The sum over a row's slices, (C, V), in their order; past the first-level cache, which other programs' stores
    do not reach."""
    total = tl.zeros((C, V), tl.float32)
    for part in tl.range(SLICES, loop_unroll_factor=4):
        total += tl.load(own_part(parts, i, row, rows, part, SLICES, C, V) + place, cache_modifier=".cg")
    return total


@triton.jit
def announce(arrived, row):
    """All that this program's threads have stored may be read by whoever sees the count."""
    tl.debug_barrier()
    tl.atomic_add(arrived + row * APART, 1, sem="release", scope="gpu")


@triton.jit
def await_all(arrived, row, times, SLICES: tl.constexpr):
    """Until every program of the row has announced itself ``times`` times."""
    while tl.atomic_add(arrived + row * APART, 0, sem="acquire", scope="gpu") < times * SLICES:
        pass
    tl.debug_barrier()
