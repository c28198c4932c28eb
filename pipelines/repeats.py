"""Find the far copies of a genome, on both strands, with the table that the DNA models remember by.

Question: which stretches were there before, and where first? Which bases are in none of them?

Inputs: FASTA or GenBank. No model is needed.
Outputs: a BED file, a line for each copy, with the place of the first of its like and the share of equal bases; if
asked for, the novelty of each base (`titans_seq.genomics.novelty`) in bins, as bigWig or bedGraph.
Launch: ``titans-seq repeats ecoli.fa.gz -o repeats.bed --novelty novelty.bw``
Cost: one pass at some ten thousand bases a second and core, about 30 bytes of RAM a base; figures are in LOG.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from titans_seq.errors import OutputError
from titans_seq.genomics import open_genomes
from titans_seq.genomics.novelty import Novelty
from titans_seq.genomics.repeats import Repeat, write_repeats
from titans_seq.genomics.tracks import check_track, write_track
from titans_seq.streaming.repeats import JoinedContigs, find_repeats, novelty_means

Watch = Callable[[str, float, float, str], None]


def run(
    genomes: Sequence[str],
    *,
    out: Path,
    seed: int = 24,
    min_length: int = 100,
    chroms: Sequence[str] = (),
    table_mb: float = 4096.0,
    novelty: Path | None = None,
    size: int = 32,
    watch: Watch = lambda stage, done, total, note: None,
) -> dict[str, int]:
    """Search and write; gives how many repeats there are and how many bases they cover."""
    if not out.absolute().parent.is_dir():
        raise OutputError(f"{out}: there is no folder {out.absolute().parent}; create it first")
    if novelty is not None:
        check_track(novelty)
    genome = open_genomes(genomes, progress=lambda done, total: watch("reading", done, total or max(done, 1), ""))
    names = tuple(genome.contig(name).name for name in dict.fromkeys(chroms)) or genome.names
    stream = JoinedContigs(genome, names)

    def count(done: int) -> None:
        watch("searching", done, stream.length, f"{done:,} of {stream.length:,} bases")

    marks = None if novelty is None else Novelty(stream.length, seed=seed)
    found = find_repeats(stream, seed=seed, least=min_length, megabytes=table_mb, novelty=marks, progress=count)
    write_repeats(out, found, stream.place)
    if novelty is not None and marks is not None:
        watch("writing", 0, 1, novelty.name)
        sizes = {name: genome.contig(name).length for name in names}
        write_track(novelty, sizes, novelty_means(marks, stream, size=size), size=size)
    return {"repeats": len(found), "bases": covered(found), "of": stream.length}


def covered(repeats: Sequence[Repeat]) -> int:
    """Bases that lie in at least one copy."""
    if not repeats:
        return 0
    ends = np.maximum.accumulate([repeat.end for repeat in repeats])
    before = np.append(0, ends[:-1])
    starts = np.maximum([repeat.start for repeat in repeats], before)
    return int(np.maximum(ends - starts, 0).sum())
