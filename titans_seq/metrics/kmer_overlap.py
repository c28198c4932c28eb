"""The most similar training sequence of each test sequence, by the Jaccard index of their k-mer sets.

A k-mer and its reverse complement count as one. Of all k-mers a fixed share is kept, chosen by a hash (FracMinHash):
those whose hash falls below 1 / s, the same ones in every sequence, so |A and B| / |A or B| of what is kept estimates
the index of the whole sets; s is 1 (exact) up to about eight million bases. k-mers of more than `COMMON` training
sequences find no candidates (they are repeats or low complexity), but they count in the index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse  # type: ignore[import-untyped]

Ends = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Tokens end to end, and offsets [N + 1]."""

COMMON = 256
_MOST = 8_000_000
_BLOCK = 2048
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Nearest:
    """For each test sequence the number of the nearest training sequence (-1 for none) and the Jaccard index."""

    nearest: NDArray[np.int64]
    jaccard: NDArray[np.float64]


def nearest_by_kmers(train: Ends, test: Ends, *, k: int = 11) -> Nearest:
    """Find the training sequence whose k-mers overlap most with those of each test sequence."""
    share = max(1.0, (len(train[0]) + len(test[0])) / _MOST)
    known, queries = (_kmer_sets(part, k, share) for part in (train, test))
    columns, place = np.unique(np.concatenate([known[1], queries[1]]), return_inverse=True)
    parts = []
    for (rows, _), numbers, ends in (
        (known, place[: len(known[1])], train), (queries, place[len(known[1]) :], test)
    ):  # fmt: skip
        shape = (len(ends[1]) - 1, len(columns))
        parts.append(sparse.csr_array((np.ones(len(rows), dtype=np.float32), (rows, numbers)), shape=shape))
    ours, theirs = parts
    sizes = [np.diff(part.indptr) for part in parts]
    rare = np.bincount(ours.indices, minlength=len(columns)) <= COMMON
    candidates = (ours * rare).tocsc()
    candidates.eliminate_zeros()
    nearest = np.full(theirs.shape[0], -1, dtype=np.int64)
    jaccard = np.zeros(theirs.shape[0])
    for start in range(0, theirs.shape[0], _BLOCK):
        shared = (theirs[start : start + _BLOCK] @ candidates.T).tocoo()
        if not shared.nnz:
            continue
        row, column = shared.row, shared.col
        union = sizes[1][start + row] + sizes[0][column] - shared.data
        order = np.lexsort((shared.data / union, row))
        last = order[np.r_[np.flatnonzero(np.diff(row[order])), len(order) - 1]]
        pairs = (start + row[last], column[last])
        both = np.asarray(theirs[pairs[0]].multiply(ours[pairs[1]]).sum(axis=1)).ravel()
        nearest[pairs[0]] = pairs[1]
        jaccard[pairs[0]] = both / (sizes[1][pairs[0]] + sizes[0][pairs[1]] - both)
    return Nearest(nearest, jaccard)


def _kmer_sets(data: Ends, k: int, share: float) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Rows and numbers of the different canonical k-mers of each sequence that the hash keeps."""
    tokens, offsets = data
    length = len(tokens)
    here, there = (np.zeros(length, dtype=np.uint64) for _ in range(2))
    known = np.ones(length, dtype=np.bool_)
    for shift in range(k):
        step = np.full(length, 4, dtype=np.uint64)
        step[: length - shift] = tokens[shift:]
        known &= step < 4
        base = np.minimum(step, np.uint64(3))
        here = here * np.uint64(4) + base
        there += (np.uint64(3) - base) * np.uint64(4) ** np.uint64(shift)
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    known &= np.arange(length) + k <= offsets[rows + 1]
    numbers = np.minimum(here, there)[known]
    rows = rows[known]
    if share > 1:
        kept = (numbers * _MIX) >> np.uint64(32) < np.uint64(2**32 / share)
        numbers, rows = numbers[kept], rows[kept]
    pairs = np.unique(rows.astype(np.uint64) << np.uint64(2 * k) | numbers)
    return (pairs >> np.uint64(2 * k)).astype(np.int64), pairs & np.uint64(4**k - 1)
