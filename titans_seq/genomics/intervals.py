"""Stretches of a genome with a name, as columns: from windows, from whole contigs, or from a BED file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from titans_seq.errors import RangeError
from titans_seq.genomics.genome import Genome


@dataclass(frozen=True)
class Intervals:
    """Rows in the order in which they were given.

    Attributes
    ----------
    contig : int32 [n]
        Number in ``genome.contigs``.
    start, end : int64 [n]
        0-based half-open.
    strand : int8 [n]
        +1, -1, or 0 where none was given.
    names : tuple of str, or None
        One for each row, where the file had names.
    """

    contig: npt.NDArray[np.int32]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    strand: npt.NDArray[np.int8]
    names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.contig)

    def take(self, rows: npt.NDArray[np.integer]) -> Intervals:
        """Some rows, by number."""
        names = None if self.names is None else tuple(self.names[row] for row in rows)
        return Intervals(self.contig[rows], self.start[rows], self.end[rows], self.strand[rows], names)

    def checksum(self) -> str:
        """SHA-256 of all columns."""
        digest = hashlib.sha256()
        for column in (self.contig, self.start, self.end, self.strand):
            digest.update(column.tobytes())
        digest.update("\n".join(self.names or ()).encode())
        return digest.hexdigest()


def windows(genome: Genome, contigs: Sequence[str], *, window: int, stride: int) -> Intervals:
    """Windows at 0, ``stride``, 2 ``stride`` ... of each contig, until one reaches its end, where it is cut off.

    For a contig of 10, a window of 6 and a stride of 3: 0 .. 6, 3 .. 9, 6 .. 10.

    Raises
    ------
    RangeError
        A window or stride below 1.
    """
    if window < 1 or stride < 1:
        raise RangeError(f"expected a window and a stride of at least 1, found {window} and {stride}")
    numbers = np.array([genome.number(name) for name in contigs], dtype=np.int64)
    lengths = np.array([genome.contig(name).length for name in contigs], dtype=np.int64)
    counts = np.minimum(1 + np.maximum(0, -(-(lengths - window) // stride)), -(-lengths // stride))
    starts = (np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)) * stride
    return Intervals(
        contig=np.repeat(numbers, counts).astype(np.int32),
        start=starts,
        end=np.minimum(starts + window, np.repeat(lengths, counts)),
        strand=np.zeros(len(starts), dtype=np.int8),
    )


def whole_contigs(genome: Genome, contigs: Sequence[str]) -> Intervals:
    """One interval per contig."""
    lengths = np.array([genome.contig(name).length for name in contigs], dtype=np.int64)
    return Intervals(
        contig=np.array([genome.number(name) for name in contigs], dtype=np.int32),
        start=np.zeros(len(lengths), dtype=np.int64),
        end=lengths,
        strand=np.zeros(len(lengths), dtype=np.int8),
    )
