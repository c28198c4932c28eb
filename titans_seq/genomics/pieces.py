"""Cuts the training part of a genome into pieces that are streamed from a reset memory to their end.

A piece is contiguous bases of one contig on one strand. Long gaps of N end a piece; so does the length at which the
rows of a batch are about equally busy. Where the cuts fall changes from epoch to epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from titans_seq.errors import RangeError
from titans_seq.genomics.genome import Genome
from titans_seq.genomics.splits import Stretch


class Piece(NamedTuple):
    """Bases ``start .. end`` of contig number `contig`, read upwards (strand 1) or downwards (strand -1)."""

    contig: int
    start: int
    end: int
    strand: int


def without_gaps(genome: Genome, stretches: Sequence[Stretch], *, gap_reset: int) -> list[Piece]:
    """The stretches as forward pieces, without runs of more than `gap_reset` N and without N at either end.

    Pieces of a single base are left out: they hold nothing to predict.

    Raises
    ------
    RangeError
        A stretch outside its contig, stretches that overlap, or no base left at all.
    """
    pieces: list[Piece] = []
    previous: Stretch | None = None
    contigs = genome.contigs
    for stretch in sorted(stretches, key=attrgetter("contig", "start", "end")):
        number, at = genome.number(stretch.contig), stretch.start
        contig = contigs[number]
        if not 0 <= stretch.start <= stretch.end <= contig.length:
            raise RangeError(f"{stretch} lies outside its contig of {contig.length} bases")
        if previous is not None and previous.contig == stretch.contig and stretch.start < previous.end:
            raise RangeError(f"stretches overlap: {previous} and {stretch}")
        previous = stretch
        if contig.n_count:
            for run_start, run_end in genome.n_runs(stretch.contig).tolist():
                if run_end <= stretch.start or run_start >= stretch.end:
                    continue
                if run_end - run_start > gap_reset or run_start <= at or run_end >= stretch.end:
                    pieces.append(Piece(number, at, max(run_start, at), 1))
                    at = min(run_end, stretch.end)
        pieces.append(Piece(number, at, stretch.end, 1))
    kept = [piece for piece in pieces if piece.end - piece.start > 1]
    if not kept:
        raise RangeError("the training part holds no two neighbouring bases")
    return kept


def plan_epoch(
    parts: Sequence[Piece], *, rows: int, segment: int, both_strands: bool, rng: np.random.Generator
) -> list[Piece]:
    """The pieces of one epoch in a random order: every base of `parts` once per strand.

    A part longer than its share (all bases over `rows`, in whole segments) is cut into shares, the first cut at a
    random place.
    """
    strands = (1, -1) if both_strands else (1,)
    total = sum(part.end - part.start for part in parts) * len(strands)
    share = -(-total // (rows * segment)) * segment
    planned: list[Piece] = []
    for part in parts:
        for strand in strands:
            cuts = [part.start, part.end]
            if part.end - part.start > share:
                first = part.start + int(rng.integers(1, share + 1))
                cuts = [part.start, *range(first, part.end, share), part.end]
            for start, end in pairwise(cuts):
                if end > start:
                    planned.append(Piece(part.contig, start, end, strand))
    return [planned[number] for number in rng.permutation(len(planned)).tolist()]
