"""One vector per region of a genome, each with all that came before it within its context.

Question: what does a trained model make of every window, gene or contig, when its memory is carried along the genome?

Inputs: a run of ``titans-seq train-dna``; FASTA or GenBank; regions from windows, a BED file, or whole sequences.
Outputs: Parquet, .npy (with coordinates beside it) or .h5ad, one row per region.
Launch: ``titans-seq embed genome.fa.gz --model runs/ecoli --window 4096 --stride 2048 -o windows.parquet``
Cost: one pass of the model over what is read (two for ``--strand both``, and for a context of a given length), at
constant RAM; figures by machine are in LOG.md.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from titans_seq import __version__
from titans_seq.errors import ConfigError, InputFileError, OutputError, unknown_name
from titans_seq.genomics import Genome, open_genomes
from titans_seq.genomics.bed import read_bed
from titans_seq.genomics.embedding_table import EmbeddingTable, check_suffix, write_embeddings
from titans_seq.genomics.intervals import Intervals, whole_contigs, windows
from titans_seq.genomics.shards import Shard
from titans_seq.streaming import open_dna_model, parse_context
from titans_seq.streaming.device import available_cores, choose_device
from titans_seq.streaming.embedding import Embedding, embed, seconds_ahead
from titans_seq.streaming.pool import POOLS
from titans_seq.streaming.readings import layer_number
from titans_seq.streaming.session_file import model_hash
from titans_seq.streaming.units import Reading
from titans_seq.streaming.work_folder import WorkFolder

_log = logging.getLogger(__name__)

STRANDS = ("+", "-", "both", "region")
PROBED = 1_000_000
"""Bases from which on the speed is probed before the run."""
LONG = 180.0
"""Seconds from which on a run is announced."""

Watch = Callable[[str, float, float, str], None]


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """What the command line says; see ``titans-seq embed --help``."""

    regions: Path | None = None
    window: int | None = None
    stride: int | None = None
    per_sequence: bool = False
    context: str = "contig"
    pool: str = "mean"
    layer: int = -1
    strand: str = "+"
    chroms: Sequence[str] = ()
    gap_reset: int = 10_000
    device: str = "auto"
    threads: int | None = None
    shard: str | None = None


def run(
    genomes: Sequence[str],
    *,
    model: Path,
    out: Path,
    options: EmbedOptions,
    watch: Watch = lambda stage, done, total, note: None,
) -> dict[str, Any]:
    """Embed and write; gives a few facts about what was done."""
    shard = Shard.choose(options.shard)
    out = shard.part_of(out)
    check_suffix(out)
    check_out(out)
    for what, value, known in (("pooling", options.pool, POOLS), ("strand", options.strand, STRANDS)):
        if value not in known:
            raise unknown_name(what, value, known)
    opened = open_dna_model(model, device=choose_device(options.device))
    layer = layer_number(options.layer, blocks=len(opened.task.encoder.blocks))
    reading = Reading(options.strand, parse_context(options.context), options.gap_reset)
    genome = open_genomes(genomes, progress=_reading(watch))
    whole = Embedding(opened, genome, choose_regions(genome, options), reading, options.pool, layer)
    job = whole.share(shard)
    threads = options.threads or available_cores()
    announce(job, threads=threads)
    work = WorkFolder(out, job=described(job, shard), slots=job.slots, regions=len(job.mine), width=job.width)
    try:
        embed(job, work, threads=threads, watch=watch)
        write_embeddings(out, table_of(job, work))
    finally:
        work.close()
    work.remove()
    return {"out": str(out), "regions": len(job.mine), "width": job.width, "bases": job.tokens}


def check_out(out: Path) -> None:
    """Refuse, before anything is read, an output that cannot be written."""
    folder = out.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"{out}: there is no folder {folder}; create it first")
    if out.is_dir():
        raise OutputError(f"{out}: is a folder")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{out}: cannot be written (no permission in {folder})")


def choose_regions(genome: Genome, options: EmbedOptions) -> Intervals:
    """What gets a vector: a BED file's intervals, whole contigs, or windows (4,096 long unless said otherwise)."""
    named = [options.regions is not None, options.per_sequence, options.window is not None]
    if sum(named) > 1:
        raise ConfigError("expected one of --regions, --per-sequence and --window, found several")
    if options.stride is not None and (options.per_sequence or options.regions is not None):
        raise ConfigError("--stride belongs to --window")
    for name in options.chroms:
        genome.number(name)
    contigs = [name for name in genome.names if not options.chroms or name in set(options.chroms)]
    if options.per_sequence:
        return whole_contigs(genome, contigs)
    if options.regions is None:
        window = options.window or 4096
        return windows(genome, contigs, window=window, stride=options.stride or window)
    found = read_bed(options.regions, genome)
    if options.chroms:
        found = found.take(np.flatnonzero(np.isin(found.contig, [genome.number(name) for name in contigs])))
        if not len(found):
            raise InputFileError(options.regions, problem=f"no interval on {', '.join(options.chroms)}")
    return found


def announce(job: Embedding, *, threads: int) -> None:
    """Say how long a long run will take before it begins."""
    if job.tokens < PROBED:
        return
    seconds, rate = seconds_ahead(job, threads=threads)
    if seconds > LONG:
        _log.info(
            "%s bases to read at about %s a second on %d thread(s): about %.0f minutes; it can be stopped and goes on",
            f"{job.tokens:,}", f"{rate:,.0f}", threads, seconds / 60,
        )  # fmt: skip


def described(job: Embedding, shard: Shard) -> dict[str, Any]:
    """All that the result depends on: a work folder of another job is not gone on with."""
    return {
        "format": "titans-seq embedding 2", "version": __version__, "model": model_hash(job.model.task),
        "genome": job.genome.checksum, "regions": job.regions.checksum(), "reading": asdict(job.reading),
        "pool": job.pool, "layer": job.layer, "device": job.device.type,
        "shard": [shard.number, shard.count],
    }  # fmt: skip


def table_of(job: Embedding, work: WorkFolder) -> EmbeddingTable:
    """The finished vectors with their coordinates; of ``both``, the mean (or for max, the larger) of the strands."""

    def rows(start: int, stop: int) -> Any:
        first = work.rows(0, start, stop)
        if job.slots == 1:
            return first
        second = work.rows(1, start, stop)
        return np.maximum(first, second) if job.pool == "max" else (first + second) / 2

    regions = job.regions if job.rows is None else job.regions.take(job.rows)
    fixed = {"+": "+", "-": "-", "both": "."}.get(job.reading.strand)
    strands = np.where(regions.strand < 0, "-", "+") if fixed is None else np.full(len(regions), fixed)
    return EmbeddingTable(regions, job.genome.names, strands, rows, job.width)


def _reading(watch: Watch) -> Callable[[int, int | None], None]:
    return lambda done, total: watch("read genome", done, total or done or 1, "")
