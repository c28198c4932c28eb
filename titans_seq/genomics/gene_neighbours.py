"""How far the gene in front of each candidate start is: the genes of an operon stand close, or overlap by 1 or 4 bases.

Distances are counted from the end of the nearest gene that begins in front, on either strand, to the start; negative
where they overlap. Each falls into one of `NEIGHBOURS` bins: those of a gene on the same strand, those of one on the
other strand, and one for no gene within reach. ``ATGA``, a start within the stop codon in front, is a distance of -4.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from titans_seq.genomics.open_frames import OpenFrames

Ints = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]

_SAME: Final = (-1000, -60, -8, -4, -3, -1, 0, 3, 15, 40, 100, 250)
_OTHER: Final = (-1000, -60, -8, 0, 30, 80, 150, 300)
NEIGHBOURS: Final = len(_SAME) + len(_OTHER) + 1
"""Bins of :func:`neighbour_bins`."""
_REACH: Final = 5000
_FAR: Final = 10**6


class PlacedGenes(NamedTuple):
    """Genes of one strand in strand coordinates, by start, and the number of their open frames."""

    start: Ints
    end: Ints
    frame: Ints


def neighbour_bins(
    frames: tuple[OpenFrames, OpenFrames], genes: tuple[PlacedGenes, PlacedGenes], size: int
) -> tuple[Ints, Ints]:
    """The bin of every candidate of both strands of a sequence of `size` bases, int64 [K] each, given its genes.

    A gene does not stand in front of candidates of its own frame.
    """
    bins = []
    for number, own_frames in enumerate(frames):
        own, other = genes[number], genes[1 - number]
        start = own_frames.start
        index = np.searchsorted(own.start, start) - 1  # the last gene that begins in front
        same = _distance(start, own, index)
        mine = (
            np.flatnonzero((index >= 0) & (own.frame[np.maximum(index, 0)] == own_frames.frame))
            if len(own.frame)
            else np.empty(0, dtype=np.int64)
        )
        same[mine] = _distance(start[mine], own, index[mine] - 1)
        flipped = np.argsort(size - other.end)
        mirrored = PlacedGenes((size - other.end)[flipped], (size - other.start)[flipped], other.frame[flipped])
        across = _distance(start, mirrored, np.searchsorted(mirrored.start, start) - 1)
        bins.append(_bins(same, across))
    return bins[0], bins[1]


def one_hot(bins: Ints) -> Matrix:
    """Columns [K, NEIGHBOURS] in which each row's bin is lit."""
    columns = np.zeros((bins.size, NEIGHBOURS))
    columns[np.arange(bins.size), bins] = 1.0
    return columns


def _bins(same: Ints, other: Ints) -> Ints:
    """The bin of the nearer one of two distances; the last one where neither is within reach."""
    place = np.where(
        same <= other,
        np.maximum(np.searchsorted(_SAME, same, side="right") - 1, 0),
        len(_SAME) + np.maximum(np.searchsorted(_OTHER, other, side="right") - 1, 0),
    )
    return np.where(np.minimum(same, other) > _REACH, NEIGHBOURS - 1, place).astype(np.int64)


def _distance(start: Ints, genes: PlacedGenes, index: Ints) -> Ints:
    if not genes.end.size:
        return np.full(start.size, _FAR)
    return np.where(index >= 0, start - genes.end[np.maximum(index, 0)], _FAR)
