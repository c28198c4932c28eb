"""Bits per base put together: overall, by class, along the sequence, and as a difference of two arms, with spread.

Neighbouring bases are not independent, so every standard error is taken over blocks of 1,000 bases: with block sums
S_j over n_j counted bases and mean m = sum S / sum n, it is ``sqrt(J / (J - 1) sum (S_j - m n_j)^2) / sum n``.
Positions that are NaN (N, not evaluated) count nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from titans_seq.errors import RangeError, ShapeError

Bits = npt.NDArray[np.floating]

BLOCK: Final = 1_000


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over bases.

    Attributes
    ----------
    mean, error : float
        Bits per base and its standard error; NaN where there are too few bases for one.
    bases : int
        How many bases were counted.
    """

    mean: float
    error: float
    bases: int


def mean_bits(bits: Bits, *, block: int = BLOCK) -> Mean:
    """Mean of an array [T] over its positions that are not NaN.

    Example: ``[1, nan, 3]`` with block 2 has mean 2 over 2 bases.
    """
    return _mean(bits, ~np.isnan(bits), block)


def difference(first: Bits, second: Bits, *, block: int = BLOCK) -> Mean:
    """Mean of ``first - second`` over the positions both have: positive where the second arm is better.

    Raises
    ------
    ShapeError
        Arrays of different length.
    """
    if first.shape != second.shape:
        raise ShapeError(f"expected two arrays of one length, found {first.shape} and {second.shape}")
    return mean_bits(first - second, block=block)


def bits_by_class(
    bits: Bits, classes: npt.NDArray[np.uint8], *, names: Sequence[str], block: int = BLOCK
) -> dict[str, Mean]:
    """The mean of every class that occurs; `classes` [T] are indices into `names`.

    Raises
    ------
    ShapeError, RangeError
        Arrays of different length; a class without a name.
    """
    if bits.shape != classes.shape:
        raise ShapeError(f"expected a class for each of {bits.shape} bits, found {classes.shape}")
    if classes.size and int(classes.max()) >= len(names):
        raise RangeError(f"expected classes below {len(names)}, found {int(classes.max())}")
    counted = ~np.isnan(bits)
    found = {name: _mean(bits, counted & (classes == code), block) for code, name in enumerate(names)}
    return {name: mean for name, mean in found.items() if mean.bases}


def bits_by_window(bits: Bits, *, window: int) -> npt.NDArray[np.float64]:
    """Mean of each window of consecutive positions, float64 [ceil(T / window)]; NaN where a window counts nothing.

    Raises
    ------
    RangeError
        A window below 1.
    """
    sums, counts = _block_sums(bits, ~np.isnan(bits), window)
    return np.divide(sums, counts, out=np.full(sums.size, np.nan), where=counts > 0)


def _mean(bits: Bits, counted: npt.NDArray[np.bool_], block: int) -> Mean:
    sums, counts = _block_sums(bits, counted, block)
    sums, counts = sums[counts > 0], counts[counts > 0]
    total = int(counts.sum())
    if not total:
        return Mean(math.nan, math.nan, 0)
    mean = float(sums.sum() / total)
    if sums.size < 2:
        return Mean(mean, math.nan, total)
    spread = float(((sums - mean * counts) ** 2).sum()) * sums.size / (sums.size - 1)
    return Mean(mean, math.sqrt(spread) / total, total)


def _block_sums(
    bits: Bits, counted: npt.NDArray[np.bool_], block: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    if block < 1:
        raise RangeError(f"expected blocks of at least 1 base, found {block}")
    if bits.ndim != 1:
        raise ShapeError(f"expected bits along one axis, found shape {bits.shape}")
    starts = np.arange(0, bits.size, block)
    if not starts.size:
        return np.zeros(0), np.zeros(0, dtype=np.int64)
    kept = np.where(counted, bits, 0).astype(np.float64)
    return np.add.reduceat(kept, starts), np.add.reduceat(counted.astype(np.int64), starts)
