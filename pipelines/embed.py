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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from titans_seq import __version__
from titans_seq.errors import unknown_name
from titans_seq.files import check_out
from titans_seq.genomics import open_genomes
from titans_seq.genomics.embedding_table import EmbeddingTable, check_suffix, write_embeddings
from titans_seq.genomics.regions_asked import choose_regions
from titans_seq.genomics.shards import Shard
from titans_seq.streaming import open_dna_model, parse_context
from titans_seq.streaming.device import available_cores, choose_device
from titans_seq.streaming.embedding import embed, seconds_ahead
from titans_seq.streaming.embedding_job import Embedding
from titans_seq.streaming.pool import POOLS
from titans_seq.streaming.readings import layer_number
from titans_seq.streaming.relay import Relay
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
    asked, out = out, shard.part_of(out)
    check_suffix(out)
    check_out(out)
    for what, value, known in (("pooling", options.pool, POOLS), ("strand", options.strand, STRANDS)):
        if value not in known:
            raise unknown_name(what, value, known)
    opened = open_dna_model(model, device=choose_device(options.device))
    layer = layer_number(options.layer, blocks=len(opened.task.encoder.blocks))
    reading = Reading(options.strand, parse_context(options.context), options.gap_reset)
    genome = open_genomes(genomes, progress=_reading(watch))
    regions = choose_regions(
        genome, bed=options.regions, window=options.window, stride=options.stride, per_sequence=options.per_sequence,
        chroms=options.chroms,
    )  # fmt: skip
    whole = Embedding(opened, genome, regions, reading, options.pool, layer)
    job = whole.share(shard)
    threads = options.threads or available_cores()
    announce(job, threads=threads)
    named = described(job)
    relay = None if shard.whole else Relay(asked, shard, named)
    job_here = {**named, "shard": [shard.number, shard.count]}
    work = WorkFolder(out, job=job_here, slots=job.slots, regions=len(job.mine), width=job.width)
    try:
        embed(job, work, threads=threads, relay=relay, watch=watch)
        write_embeddings(out, table_of(job, work))
    finally:
        work.close()
    work.remove()
    return {"out": str(out), "regions": len(job.mine), "width": job.width, "bases": job.tokens}


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


def described(job: Embedding) -> dict[str, Any]:
    """All that the result depends on: a work folder of another job is not gone on with."""
    return {
        "format": "titans-seq embedding 2", "version": __version__, "model": model_hash(job.model.task),
        "genome": job.genome.checksum, "regions": job.regions.checksum(), "reading": asdict(job.reading),
        "pool": job.pool, "layer": job.layer, "device": job.device.type,
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
