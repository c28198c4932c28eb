"""Regions to units of work: passages that are read together, in a fixed order, whatever the number of threads.

A unit is what one thread reads at a time and what a resumed run skips once it is done. Its composition follows from
the regions and the settings alone, so that results are the same bit for bit whoever reads it, and when.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from titans_seq.genomics import Genome
from titans_seq.genomics.intervals import Intervals
from titans_seq.streaming.passages import Passage, passage

MARGIN = 64
"""Bases by which a passage may be filled up to a border."""
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reading:
    """How regions are read.

    Attributes
    ----------
    strand
        ``+``, ``-``, ``both`` (each region twice), or ``region`` (its own; ``+`` where it has none).
    context
        Bases before a region, None for the whole contig; see `titans_seq.streaming.passages`.
    gap_reset
        A longer run of N is not read, and the memory begins anew behind it.
    """

    strand: str = "+"
    context: int | None = None
    gap_reset: int = 10_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is read at a time: most row-tokens of a call, tokens that fill one, most rows, tokens of a unit."""

    call: int
    least: int
    rows: int
    unit: int

    @classmethod
    def of(cls, device: torch.device) -> Pace:
        """What suits a device: a CPU is filled by one row of 8,192 tokens, a GPU wants many rows."""
        if device.type == "cpu":
            return cls(call=8192, least=4096, rows=64, unit=2**18)
        return cls(call=2**17, least=2**22, rows=128, unit=2**27)


@dataclass(slots=True)
class Unit:
    """Passages of one strand, and for each the numbers of the regions that lie in it.

    ``rows``: how many are read side by side.
    """

    number: int
    rows: int = 1
    passages: list[Passage] = field(default_factory=list)
    regions: list[Numbers] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(one) for one in self.passages)


def units(genome: Genome, regions: Intervals, *, reading: Reading, pace: Pace) -> Iterator[Unit]:
    """All units, in the order of strands, then contigs, then places."""
    number, unit, tokens = 0, Unit(0), 0
    for strand in ("+", "-"):
        for one, rows in _passages(genome, regions, strand=strand, reading=reading):
            unit.passages.append(one)
            unit.regions.append(rows)
            tokens += len(one)
            if tokens >= pace.unit:
                yield _laid_out(unit, pace)
                number, tokens = number + 1, 0
                unit = Unit(number)
        if unit.passages:  # a unit keeps to one strand
            yield _laid_out(unit, pace)
            number, tokens = number + 1, 0
            unit = Unit(number)


def lay_out(lengths: Sequence[int], pace: Pace) -> tuple[list[int], int]:
    """Order in which passages are taken, and how many are read side by side.

    Longest first, so that rows of a call are about equally long; as many rows as fill a call.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    middle = lengths[order[len(order) // 2]] + MARGIN
    return order, max(1, min(pace.rows, len(order), -(-pace.least // middle)))


def _laid_out(unit: Unit, pace: Pace) -> Unit:
    order, unit.rows = lay_out([len(one) for one in unit.passages], pace)
    unit.passages = [unit.passages[index] for index in order]
    unit.regions = [unit.regions[index] for index in order]
    return unit


def _passages(
    genome: Genome, regions: Intervals, *, strand: str, reading: Reading
) -> Iterator[tuple[Passage, Numbers]]:
    """Passages of one strand, each with its regions' numbers, contig by contig."""
    chosen = _on_strand(regions, strand, reading.strand)
    if not len(chosen):
        return
    chosen = chosen[np.argsort(regions.contig[chosen], kind="stable")]
    borders = [0, *(np.flatnonzero(np.diff(regions.contig[chosen])) + 1).tolist(), len(chosen)]
    names = genome.names
    for begin, stop in pairwise(borders):
        rows = chosen[begin:stop]
        name = names[int(regions.contig[rows[0]])]
        length = genome.contig(name).length
        # In the direction of reading, both strands look alike.
        start = regions.start[rows] if strand == "+" else length - regions.end[rows]
        end = regions.end[rows] if strand == "+" else length - regions.start[rows]
        for group, first in _groups(start, reading.context):
            low, high, last = int(start[group].min()), int(end[group].max()), int(end[group].max())
            read = (first, last) if strand == "+" else (length - last, length - first)
            keep = (low, high) if strand == "+" else (length - high, length - low)
            one = passage(genome, name, *read, strand=strand, gap_reset=reading.gap_reset, keep=keep)
            yield one, rows[group]


def _groups(start: Numbers, context: int | None) -> Iterator[tuple[Numbers, int]]:
    """Regions that share a passage, by number, and where that passage begins."""
    if context is None:
        yield np.arange(len(start)), 0
    elif context == 0:
        for number in np.argsort(start, kind="stable"):
            yield np.array([number]), int(start[number])
    else:
        order = np.argsort(start, kind="stable")
        blocks = start[order] // context
        for group in np.split(order, np.flatnonzero(np.diff(blocks)) + 1):
            yield group, max(0, (int(start[group[0]]) // context - 1) * context)


def _on_strand(regions: Intervals, strand: str, wanted: str) -> Numbers:
    """Numbers of the regions that are read on ``strand``."""
    if wanted == "region":
        return np.flatnonzero(regions.strand < 0 if strand == "-" else regions.strand >= 0)
    return np.arange(len(regions)) if wanted in (strand, "both") else np.empty(0, dtype=np.int64)
