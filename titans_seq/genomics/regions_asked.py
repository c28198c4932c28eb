"""Which regions of a genome are asked for: a BED file's intervals, whole contigs, or windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from titans_seq.errors import ConfigError, InputFileError
from titans_seq.genomics.bed import read_bed
from titans_seq.genomics.genome import Genome
from titans_seq.genomics.intervals import Intervals, whole_contigs, windows

WINDOW = 4096


def choose_regions(
    genome: Genome,
    *,
    bed: Path | None = None,
    window: int | None = None,
    stride: int | None = None,
    per_sequence: bool = False,
    chroms: Sequence[str] = (),
) -> Intervals:
    """Regions by one of three ways; windows, of `WINDOW` bases unless said otherwise, where none is named.

    Parameters
    ----------
    chroms
        These contigs only; all when empty.

    Raises
    ------
    ConfigError
        Several ways at once, or a stride without windows.
    InputFileError
        The BED file has no interval on these contigs.
    """
    if (bed is not None) + per_sequence + (window is not None) > 1:
        raise ConfigError("expected one of --regions, --per-sequence and --window, found several")
    if stride is not None and (per_sequence or bed is not None):
        raise ConfigError("--stride belongs to --window")
    for name in chroms:
        genome.number(name)
    contigs = [name for name in genome.names if not chroms or name in set(chroms)]
    if per_sequence:
        return whole_contigs(genome, contigs)
    if bed is None:
        window = window or WINDOW
        return windows(genome, contigs, window=window, stride=stride or window)
    found = read_bed(bed, genome)
    if chroms:
        found = found.take(np.flatnonzero(np.isin(found.contig, [genome.number(name) for name in contigs])))
        if not len(found):
            raise InputFileError(bed, problem=f"no interval on {', '.join(chroms)}")
    return found
