"""Learn the decoder of a labelling model: tables counted on the training part, weights from scored stretches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from titans_seq.errors import RangeError
from titans_seq.genomics import Genome, Stretch
from titans_seq.genomics.gene_fitting import fit_weights
from titans_seq.genomics.gene_weights import GeneWeights
from titans_seq.metrics.genes import Interval
from titans_seq.tasks.base_labels import BaseLabels
from titans_seq.tasks.gene_calls import ContigScores, GeneCaller, count_tables, strand_genes
from titans_seq.tasks.label_scan import Arm, read_ahead, scan
from titans_seq.tasks.spliced_calls import AnnotatedStretch, SplicedCaller, count_genes
from titans_seq.training.regions_job import RegionsJob

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]
Caller = GeneCaller | SplicedCaller
FEWEST = 20
"""Genes below which the decoder's weights are not fitted."""


def score_stretch(
    task: BaseLabels,
    genome: Genome,
    stretch: Stretch,
    *,
    length: int,
    arm: Arm,
    carry_bases: int | None = 0,
    watch: Watch = lambda stage, done, total, note: None,
) -> ContigScores:
    """Scores of one stretch; with ``carried``, the memory has read `carry_bases` in front of it (None: all)."""
    state = None
    if arm == "carried" and carry_bases != 0:
        first = 0 if carry_bases is None else max(stretch.start - carry_bases, 0)
        first += (stretch.start - first) % length  # whole blocks
        ahead = genome.tokens(stretch.contig, first, stretch.start)
        state = read_ahead(task, ahead, length=length) if ahead.size else None
    done = 0

    def count(read: int) -> None:
        nonlocal done
        done += read
        watch(f"scoring {arm}", done, len(stretch), f"{done:,} of {len(stretch):,} bases")

    tokens = genome.tokens(stretch.contig, stretch.start, stretch.end)
    blocks = scan(task, tokens, length=length, arm=arm, state=state, progress=count)
    return ContigScores.gather(blocks, length=len(stretch), n_states=task.n_states)


def fit_caller(job: RegionsJob, task: BaseLabels, *, watch: Watch) -> Caller:
    """Learn the decoder that the job asks for."""
    return fit_spliced(job, task, watch=watch) if job.decode == "spliced" else fit_frames(job, task, watch=watch)


def fit_spliced(job: RegionsJob, task: BaseLabels, *, watch: Watch) -> SplicedCaller:
    """The decoder of genes with introns, beside a network; see `spliced_caller`."""
    length = job.config.blocks.length
    return spliced_caller(
        job, lambda stretch: score_stretch(task, job.genome, stretch, length=length, arm="reset", watch=watch)
    )


def spliced_caller(job: RegionsJob, scored: Callable[[Stretch], ContigScores | None]) -> SplicedCaller:
    """Choose the decoder's numbers on the part kept for it, then count its tables on all that is not held out.

    While the numbers are chosen the tables are those of the training part alone.

    Raises
    ------
    RangeError
        Too few annotated genes.
    """
    stretches = tuple(dict.fromkeys((*job.parts.train, *job.parts.fit)))
    count = sum(len(spliced_inside(job.genes[s.contig].spliced, s)) for s in stretches)
    if count < FEWEST:
        raise RangeError(f"expected {FEWEST} annotated genes or more to learn from, found {count}; give decode=none")
    known = [
        AnnotatedStretch(
            tokens_of(job, stretch), scored(stretch), spliced_inside(job.genes[stretch.contig].spliced, stretch)
        )
        for stretch in job.parts.fit
    ]
    caller = _counted(job, job.parts.train).fitted(known)
    _log.info(
        "decoder: sites of %d genes; evidence %.2f, content %.2f, cost %.1f",
        count, caller.evidence, caller.content, caller.cost,
    )  # fmt: skip
    tables = _counted(job, stretches)
    return replace(caller, sites=tables.sites, hexamers=tables.hexamers, introns=tables.introns)


def _counted(job: RegionsJob, stretches: Sequence[Stretch]) -> SplicedCaller:
    """A caller with the tables of some stretches, its numbers still to be chosen."""
    starts = job.config.labels.start_codons or ("ATG",)
    counted = [(tokens_of(job, s), spliced_inside(job.genes[s.contig].spliced, s)) for s in stretches]
    tables = count_genes(counted, starts=starts)
    return SplicedCaller(job.scheme, job.code, starts, *tables, min_length=job.config.decoder.min_length)


def fit_frames(job: RegionsJob, task: BaseLabels, *, watch: Watch) -> GeneCaller:
    """Count the plain scorer's tables on the training part, and learn the decoder's weights.

    The weights come from the part kept for it and from the end of each training stretch, `decoder.train_bases` in all:
    some thousands of genes place starts better than some hundreds, although the network has seen those, and so looks
    better there than it is. The mean with the weights that do without it makes up for that.

    Raises
    ------
    RangeError
        Too few annotated genes there.
    """
    caller = plain_caller(job, job.parts.train)
    known, count = [], 0
    shared = () if job.parts.fit == job.parts.train else _ends_of(job.parts.train, job.config.decoder.train_bases)
    for stretch in (*job.parts.fit, *shared):
        genes = genes_inside(job.genes[stretch.contig].whole, stretch)
        # Blocks side by side: several times as fast, and the weights fit the other arms as well.
        scores = score_stretch(task, job.genome, stretch, length=job.config.blocks.length, arm="reset", watch=watch)
        known += caller.known(tokens_of(job, stretch), scores, genes)
        count += len(genes)
    if count < FEWEST:
        raise RangeError(
            f"the parts for the decoder hold {count} genes, expected {FEWEST} or more; raise split.decoder_fraction or "
            "decoder.train_bases, or give labels.decode=none"
        )
    _log.info("decoder: weights learned from %d genes", count)
    weights = fit_weights(known, max_overlap=caller.max_overlap)
    plain = plain_weights(job, caller, (*job.parts.train, *job.parts.fit))
    return replace(caller, weights=weights.mean_with(plain))


def plain_caller(job: RegionsJob, stretches: Sequence[Stretch]) -> GeneCaller:
    """A caller whose codons were counted on `stretches`, its weights still to be learned."""
    settings = job.config.decoder
    counted = [
        pair
        for stretch in stretches
        for pair in strand_genes(
            tokens_of(job, stretch),
            genes_inside(job.genes[stretch.contig].whole, stretch),
            job.code,
            min_length=settings.min_length,
            used=job.tracks[stretch.contig].states[:, stretch.start : stretch.end] >= 0,
        )
    ]
    codons, sites = count_tables(counted, job.code, min_length=settings.min_length)
    return GeneCaller(job.scheme, job.code, codons, None, settings.min_length, settings.max_overlap, sites=sites)


def plain_weights(job: RegionsJob, caller: GeneCaller, stretches: Sequence[Stretch]) -> GeneWeights:
    """The decoder's weights on `stretches` where there is no network."""
    known = [
        part
        for stretch in dict.fromkeys(stretches)
        for part in caller.known(tokens_of(job, stretch), None, genes_inside(job.genes[stretch.contig].whole, stretch))
    ]
    return fit_weights(known, max_overlap=caller.max_overlap)


def tokens_of(job: RegionsJob, stretch: Stretch) -> NDArray[np.uint8]:
    """The bases of a stretch."""
    return job.genome.tokens(stretch.contig, stretch.start, stretch.end)


def genes_inside(genes: Iterable[Interval], stretch: Stretch) -> list[Interval]:
    """The genes that lie whole in a stretch, in its coordinates."""
    return [
        (start - stretch.start, end - stretch.start, strand)
        for start, end, strand in genes
        if stretch.start <= start and end <= stretch.end
    ]


def spliced_inside(
    genes: Iterable[tuple[int, tuple[tuple[int, int], ...]]], stretch: Stretch
) -> list[tuple[int, tuple[tuple[int, int], ...]]]:
    """The genes that lie whole in a stretch, in its coordinates."""
    return [
        (strand, tuple((start - stretch.start, end - stretch.start) for start, end in parts))
        for strand, parts in genes
        if stretch.start <= parts[0][0] and parts[-1][1] <= stretch.end
    ]


def class_truth(job: RegionsJob, stretch: Stretch) -> NDArray[np.int8]:
    """Class number of each base and strand, -1 where it does not count."""
    states = job.tracks[stretch.contig].states[:, stretch.start : stretch.end]
    table = np.array([*job.scheme.class_of_state, -1], dtype=np.int8)
    return table[states]


def _ends_of(stretches: Sequence[Stretch], bases: int) -> tuple[Stretch, ...]:
    """The last bases of the stretches, in proportion to their lengths, `bases` in all at most."""
    share = min(1.0, bases / max(sum(map(len, stretches)), 1))
    cut = [Stretch(s.contig, s.end - int(len(s) * share), s.end) for s in stretches]
    return tuple(stretch for stretch in cut if len(stretch))
