"""Annotate a genome with a model of ``titans-seq train-regions``: genes and other features, or their probabilities.

Question: where are the genes (tRNA, rRNA ...) of this genome?

Inputs: FASTA or GenBank; a run. Outputs: GFF3 (genes with a CDS each, partial ones marked), BED6 (score 1000 times the
probability), or a track of one class and strand (bigWig, bedGraph).
Launch: ``titans-seq annotate genome.fa.gz --model runs/ecoli-regions-small -o genes.gff3``
Cost: one pass of the model; about 25 bytes of RAM for each base of the longest contig (of the genome, with ``adapt``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from titans_seq import __version__
from titans_seq.config.sections import RunSection
from titans_seq.errors import ConfigError, OutputError, unknown_name
from titans_seq.files import write_text
from titans_seq.genomics import Genome, Stretch, open_genome
from titans_seq.genomics.gene_decoder import Gene
from titans_seq.genomics.gff_writer import Prediction, bed_text, gff3_text, numbered
from titans_seq.genomics.open_frames import genetic_code
from titans_seq.genomics.shards import Shard
from titans_seq.genomics.track_parts import part_of
from titans_seq.genomics.tracks import BEDGRAPH, BIGWIG, BinMeans, check_track, write_track
from titans_seq.streaming.regions import RegionsModel, open_regions_model
from titans_seq.tasks.base_labels import BaseLabelsState
from titans_seq.tasks.gene_calls import ContigScores, GeneCaller, runs_of_class
from titans_seq.tasks.label_scan import BlockScores, read_ahead, scan
from titans_seq.tasks.self_training import fit_to_genome
from titans_seq.training.runtime import choose_runtime

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]
TABLES = (".gff3", ".gff", ".bed")


@dataclass(frozen=True)
class AnnotateJob:
    """What is read, with what, and where to; made by `prepare`."""

    genome: Genome
    model: RegionsModel
    caller: GeneCaller | None
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
        Rounds in which codon counts and the binding motif are fitted to this genome's own confident genes.
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
    if not out.absolute().parent.is_dir() or out.is_dir():
        raise OutputError(f"{out}: no such folder to write in, or a folder itself")
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
    state = stream_all(job, watch) if job.read_first else None
    if not job.out.name.lower().endswith(TABLES):
        sizes = {contig.name: contig.length for contig in job.genome.contigs}
        bins = write_track(job.out, sizes, track(job, state, watch), size=job.bin_size)
        return {f"bins of {job.classes[0]}": bins}
    caller = job.caller
    contigs = read_contigs(job, state, watch)
    if caller is not None and job.adapt:
        kept = list(contigs)
        caller = adapted(job, caller, [(tokens, scores) for _, tokens, scores in kept])
        contigs = iter(kept)
    found = [
        prediction
        for name, tokens, scores in contigs
        for prediction in features(job, caller, name, tokens, scores)
        if job.own[name][0] <= prediction.start < job.own[name][1]
    ]
    lengths = {contig.name: contig.length for contig in job.genome.contigs}
    code = caller.code.table if caller is not None else 1
    source = f"titans-seq-{__version__}"
    bed = job.out.name.lower().endswith(".bed")
    write_text(job.out, bed_text(found) if bed else gff3_text(found, lengths, source=source, table=code))
    return {kind: sum(prediction.kind == kind for prediction in found) for kind in job.classes}


def stream_all(job: AnnotateJob, watch: Watch) -> BaseLabelsState | None:
    """What the memory holds when it has read every contig, one after the other."""
    state, done = None, 0
    for contig in job.genome.contigs:
        state = read_ahead(
            job.model.task, job.genome.tokens(contig.name), length=job.model.config.blocks.length, state=state
        )
        done += contig.length
        watch("reading ahead", done, job.genome.total, contig.name)
    return state


def read_contigs(
    job: AnnotateJob, state: BaseLabelsState | None, watch: Watch
) -> Iterator[tuple[str, NDArray[np.uint8], ContigScores]]:
    """Name, bases and scores of each contig, for a track no further than needed; the memory begins with `state`."""
    done = 0
    table = job.out.name.lower().endswith(TABLES)
    for contig in job.genome.contigs:
        tokens, last = job.genome.tokens(contig.name), job.own[contig.name][1]
        blocks = scan(job.model.task, tokens, length=job.model.config.blocks.length, state=state)
        if not table:
            blocks = _until(blocks, last)
        yield contig.name, tokens, ContigScores.gather(blocks, length=contig.length, n_states=job.model.task.n_states)
        done += contig.length
        watch("annotating", done, job.genome.total, contig.name)


def _until(blocks: Iterable[BlockScores], end: int) -> Iterator[BlockScores]:
    for block in blocks:
        yield block
        if block.start + block.sites.shape[1] >= end:
            return


def adapted(
    job: AnnotateJob, caller: GeneCaller, contigs: Sequence[tuple[NDArray[np.uint8], ContigScores]]
) -> GeneCaller:
    """The caller after `job.adapt` rounds on this genome."""
    for _ in range(job.adapt):
        genes = [caller.genes(tokens, scores) for tokens, scores in contigs]
        better = fit_to_genome(caller, contigs, genes)
        if better is None:
            break
        caller = better
    return caller


def features(
    job: AnnotateJob, caller: GeneCaller | None, name: str, tokens: NDArray[np.uint8], scores: ContigScores
) -> list[Prediction]:
    """The features of one contig: genes by the decoder, the other classes as runs of bases."""
    found: list[Prediction] = []
    for kind in job.classes:
        decoded = caller is not None and kind == job.model.scheme.framed
        genes = caller.genes(tokens, scores) if caller and decoded else runs_of_class(scores, job.model.scheme, kind)
        found += [_prediction(name, kind, gene, decoded=decoded) for gene in genes]
    return numbered(found)


def track(job: AnnotateJob, state: BaseLabelsState | None, watch: Watch) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Mean probability of a class in each bin, contig after contig."""
    scheme, kind = job.model.scheme, job.classes[0]
    first = scheme.first_state(kind)
    for name, tokens, scores in read_contigs(job, state, watch):
        start, end = job.own[name]
        p = scores.part(start, end).probability(range(first, first + (3 if kind in scheme.frames else 1)))
        means = BinMeans(tokens.size, size=job.bin_size)
        means.add(start, p[0] if job.strand == "+" else p[1] if job.strand == "-" else p.max(0))
        yield name, means.means()


def _prediction(name: str, kind: str, gene: Gene, *, decoded: bool) -> Prediction:
    score = 1 / (1 + exp(-max(min(gene.score, 30.0), -30.0)))
    notes = {"start_probability": f"{gene.start_probability:.4f}"} if decoded else {}
    return Prediction(name, gene.start, gene.end, gene.strand, kind, score, gene.open_left, gene.open_right, notes)
