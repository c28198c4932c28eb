"""Annotate a genome with a model of ``titans-seq train-regions``: genes and other features, or their probabilities.

Question: where are the genes (tRNA, rRNA ...) of this genome?

Inputs: FASTA or GenBank; a run. Outputs: GFF3 (genes with a CDS each, partial ones marked), BED6 (score 1000 times the
probability), or a track of one class and strand (bigWig, bedGraph).
Launch: ``titans-seq annotate genome.fa.gz --model runs/ecoli-regions-small -o genes.gff3``
Cost: one pass of the model; about 25 bytes of RAM for each base of the longest contig (of the genome, with ``adapt``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from titans_seq import __version__
from titans_seq.config.sections import RunSection
from titans_seq.errors import ConfigError, unknown_name
from titans_seq.files import check_out, write_text
from titans_seq.genomics import Genome, Stretch, open_genome
from titans_seq.genomics.gff_writer import bed_text, gff3_text
from titans_seq.genomics.open_frames import genetic_code
from titans_seq.genomics.shards import Shard
from titans_seq.genomics.track_parts import part_of
from titans_seq.genomics.tracks import BEDGRAPH, BIGWIG, check_track, write_track
from titans_seq.streaming.labelled_contigs import class_means, read_contigs, stream_all
from titans_seq.streaming.regions import RegionsModel, open_regions_model
from titans_seq.tasks.features import contig_features
from titans_seq.tasks.gene_calls import GeneCaller
from titans_seq.tasks.self_training import adapt_to_genome
from titans_seq.tasks.spliced_calls import SplicedCaller
from titans_seq.training.runtime import choose_runtime

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]
TABLES = (".gff3", ".gff", ".bed")


@dataclass(frozen=True)
class AnnotateJob:
    """What is read, with what, and where to; made by `prepare`."""

    genome: Genome
    model: RegionsModel
    caller: GeneCaller | SplicedCaller | None
    out: Path
    classes: tuple[str, ...]
    strand: str
    bin_size: int
    adapt: int
    read_first: bool
    own: Mapping[str, tuple[int, int]]
    """Of each contig, the bases that are written here."""


def prepare(
    *,
    genome: str,
    model: Path,
    out: Path,
    classes: Sequence[str] = (),
    strand: str = "+",
    bin_size: int = 1,
    table: int | None = None,
    min_length: int | None = None,
    adapt: int = 0,
    read_first: bool = False,
    chroms: Sequence[str] = (),
    shard: str | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> AnnotateJob:
    """Check everything before any work.

    Parameters
    ----------
    classes
        Those of the model to be written; all of them when empty. A track takes one.
    table, min_length
        Translation table and shortest gene, where they differ from the model's.
    adapt
        Rounds in which codon counts, motif and start sites are counted on this genome's own confident genes.
    read_first
        Let the memory stream the whole genome before anything is annotated.
    chroms, shard
        These contigs alone; ``i/n``, a part of them. `adapt` and `read_first` then know no others. Where shards are
        more than contigs, a contig is cut: each of its shards reads it whole, since genes are decoded over the whole
        of it, and writes the features that begin in its part; a track is read to the end of the part.
    """
    part = Shard.choose(shard)
    out = part.part_of(out)
    name = out.name.lower()
    if name.endswith((*BIGWIG, *BEDGRAPH)):
        check_track(out)
    elif not name.endswith(TABLES):
        raise ConfigError(f"{out}: expected a name that ends in one of {', '.join((*TABLES, *BIGWIG, *BEDGRAPH))}")
    check_out(out)
    runtime = choose_runtime(RunSection(device=device, threads=threads))
    opened = open_regions_model(model, device=runtime.device)
    for kind in classes:
        if kind not in opened.scheme.classes:
            raise unknown_name("class of this model", kind, opened.scheme.classes)
    chosen = tuple(classes) or opened.scheme.classes
    if not name.endswith(TABLES):
        chosen = chosen[:1]
    caller = opened.caller
    if caller is not None:
        starts = opened.config.labels.start_codons or None
        code = genetic_code(table, starts=starts) if table is not None else caller.code
        caller = replace(caller, code=code, min_length=min_length or caller.min_length)
        if adapt and not isinstance(caller, GeneCaller):
            raise ConfigError(f"{model}: its genes have introns, so there is nothing that --adapt could fit")
    elif table is not None or min_length is not None or adapt:
        raise ConfigError(f"{model}: this model calls no genes, so --table, --min-length and --adapt mean nothing")
    read = open_genome(genome)
    named = tuple(read.contig(name).name for name in dict.fromkeys(chroms)) or read.names
    own = {}
    for number, portion in part.portions([read.contig(name).length for name in named]).items():
        contig = read.contig(named[number])
        (one,) = part_of([Stretch(contig.name, 0, contig.length)], portion, size=bin_size)
        own[contig.name] = (one.start, one.end)
    read = read if len(own) == len(read) else read.only(tuple(own))
    return AnnotateJob(read, opened, caller, out, chosen, strand, bin_size, adapt, read_first, own)


def run(job: AnnotateJob, *, watch: Watch = lambda stage, done, total, note: None) -> dict[str, int]:
    """Annotate and write; gives how many features of each class were found (bins, for a track)."""
    model, genome = job.model, job.genome
    lengths = {contig.name: contig.length for contig in genome.contigs}
    state = stream_all(model, genome, watch=watch) if job.read_first else None
    if not job.out.name.lower().endswith(TABLES):
        contigs = read_contigs(model, genome, state=state, until=job.own, watch=watch)
        means = class_means(contigs, model.scheme, job.classes[0], strand=job.strand, size=job.bin_size, own=job.own)
        bins = write_track(job.out, lengths, means, size=job.bin_size)
        return {f"bins of {job.classes[0]}": bins}
    caller = job.caller
    contigs = read_contigs(model, genome, state=state, watch=watch)
    if isinstance(caller, GeneCaller) and job.adapt:
        kept = list(contigs)
        caller = adapt_to_genome(caller, [(tokens, scores) for _, tokens, scores in kept], rounds=job.adapt)
        contigs = iter(kept)
    found = [
        prediction
        for name, tokens, scores in contigs
        for prediction in contig_features(
            name, tokens, scores, scheme=model.scheme, classes=job.classes, caller=caller, rules=model.rules
        )
        if job.own[name][0] <= prediction.start < job.own[name][1]
    ]
    code = caller.code.table if caller is not None else 1
    source = f"titans-seq-{__version__}"
    bed = job.out.name.lower().endswith(".bed")
    write_text(job.out, bed_text(found) if bed else gff3_text(found, lengths, source=source, table=code))
    return {kind: sum(prediction.kind == kind for prediction in found) for kind in job.classes}
