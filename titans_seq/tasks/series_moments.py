"""Sums of products of windows: all that a linear forecaster ever needs to know of the rows.

Features and targets of an origin o are windows of sources: ``z_o = [source[o + start : o + start + length], ...]``.
Their second moments over origins o0 <= o < o1,

    M[i, j] = sum_o u[o + a + i] v[o + b + j],

have a shift structure, M[i+1, j+1] = M[i, j] + u[o1 + a + i] v[o1 + b + j] - u[o0 + a + i] v[o0 + b + j], so the first
row and column (two correlations) and a walk down the diagonals give the whole: work grows with rows x width, not with
rows x width^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from titans_seq.tasks.series_sources import Array

_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Window:
    """Rows ``o + start`` to ``o + start + length`` (half-open) of a source, for an origin row o.

    ``Window("lookback", 0, -95, 96)`` is the last 96 values, the origin's included.

    Attributes
    ----------
    part
        The gate that lets it in or keeps it out.
    source
        Index of the source.
    centred
        Whether the mean of the lookback is taken off.
    """

    part: str
    source: int
    start: int
    length: int
    centred: bool = True


def design(numbers: Array, origins: NDArray[np.int64], windows: tuple[Window, ...]) -> Array:
    """Lay out features, (origins, width): the plain definition.

    Parameters
    ----------
    numbers
        Sources of one series, (rows, sources).
    origins
        Rows.
    """
    if not windows:
        return np.empty((len(origins), 0))
    return np.concatenate([numbers[origins[:, None] + (w.start + np.arange(w.length)), w.source] for w in windows], 1)


def moments(numbers: Array, first: int, last: int, windows: tuple[Window, ...]) -> Array:
    """Sum z_o z_o^T over the origins ``first`` to ``last`` (half-open) of one series; equals ``design.T @ design``."""
    width = sum(w.length for w in windows)
    # Few origins or thin windows: the product itself is cheaper than the walk.
    if (last - first) * width < 40_000 or last - first < 256:
        z = design(numbers, np.arange(first, last), windows)
        return z.T @ z
    whole = np.zeros((width, width))
    edges = np.cumsum([0, *(w.length for w in windows)])
    spans = [slice(edges[i], edges[i + 1]) for i in range(len(windows))]
    long = [i for i, window in enumerate(windows) if window.length > 1]
    for at, p in enumerate(long):
        for q in long[at:]:
            block = _pair(numbers, first, last, windows[p], windows[q])
            whole[spans[p], spans[q]] = block
            whole[spans[q], spans[p]] = block.T
    thin = [i for i, window in enumerate(windows) if window.length == 1]
    if thin:
        columns = edges[thin]
        for start in range(first, last, _CHUNK):
            z = design(numbers, np.arange(start, min(start + _CHUNK, last)), windows)
            part = z[:, columns].T @ z
            whole[columns] += part
        whole[:, columns] = whole[columns].T
    return whole


def _pair(numbers: Array, first: int, last: int, left: Window, right: Window) -> Array:
    u = np.ascontiguousarray(numbers[first + left.start : last + left.start + left.length, left.source])
    v = np.ascontiguousarray(numbers[first + right.start : last + right.start + right.length, right.source])
    count = last - first
    block = np.empty((left.length, right.length))
    block[0] = _correlate(u[:count], v[: count + right.length - 1])
    block[:, 0] = _correlate(v[:count], u[: count + left.length - 1])
    for i in range(left.length - 1):
        gone = u[i] * v[: right.length - 1]
        block[i + 1, 1:] = block[i, :-1] + (u[i + count] * v[count : count + right.length - 1] - gone)
    return block


def _correlate(short: Array, long: Array) -> Array:
    """Give ``sum_o short[o] long[o + j]`` for every j that fits, by Fourier transform."""
    size = 1 << (len(long) - 1).bit_length()
    product = np.fft.rfft(long, size) * np.conj(np.fft.rfft(short, size))
    return np.fft.irfft(product, size)[: len(long) - len(short) + 1]
