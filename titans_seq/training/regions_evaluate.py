"""Score a labelling model on the held-out part: base by base in every arm, and gene by gene."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from titans_seq.errors import RangeError
from titans_seq.genomics import Genome, Stretch
from titans_seq.genomics.gene_decoder import Gene
from titans_seq.genomics.gene_fitting import fit_weights
from titans_seq.metrics.genes import (
    GeneScores,
    Interval,
    binary_scores,
    class_scores,
    coding_track,
    compare_genes,
    compare_parts,
    confusion,
)
from titans_seq.tasks.base_labels import BaseLabels
from titans_seq.tasks.gene_calls import ContigScores, GeneCaller, best_offset, count_tables, runs_of_class, strand_genes
from titans_seq.tasks.label_scan import Arm, read_ahead, scan
from titans_seq.tasks.spliced_calls import AnnotatedStretch, PlacedGene, SplicedCaller, count_genes, parts_of
from titans_seq.training.regions_job import ContigGenes, RegionsJob

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]
Caller = GeneCaller | SplicedCaller
FEWEST = 20
"""Genes below which the decoder's weights are not fitted."""


@dataclass
class ArmScores:
    """What one arm reached.

    Attributes
    ----------
    classes
        Rows of `titans_seq.metrics.genes.class_scores`.
    pairs
        Confusion of classes, truth by row.
    genes
        The genes of the decoder for genes without introns against the annotated ones; None where it is not used.
    exons
        The coding parts of the decoder for genes with introns, likewise; see `titans_seq.metrics.genes.compare_parts`.
    runs
        For each class written as runs of bases, their number and agreement with the annotation; see `run_table`.
    coding
        Agreement of the decoded genes with the annotation base by base, both strands.
    seconds
        Of scoring.
    """

    classes: list[dict[str, Any]]
    pairs: NDArray[np.int64]
    genes: GeneScores | None = None
    exons: dict[str, Any] | None = None
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    coding: dict[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        return {
            "classes": self.classes,
            "confusion": self.pairs.tolist(),
            "genes": None if self.genes is None else self.genes.to_json(),
            "exons": self.exons,
            "runs": self.runs,
            "coding": self.coding,
            "seconds": round(self.seconds, 1),
        }


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


def fit_offsets(job: RegionsJob, task: BaseLabels, *, watch: Watch) -> dict[str, float]:
    """The offset of each class that is written as runs of bases, chosen on the part kept for the decoder."""
    parts = [
        (
            score_stretch(task, job.genome, stretch, length=job.config.blocks.length, arm="reset", watch=watch),
            class_truth(job, stretch),
        )
        for stretch in job.parts.fit
    ]
    return {
        kind: best_offset(parts, job.scheme, kind, number=number)
        for number, kind in enumerate(job.scheme.classes, start=1)
        if kind != job.scheme.framed or job.decode is None
    }


def run_table(
    job: RegionsJob, scores: Sequence[ContigScores], offsets: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """Number of the runs of each class on the held-out part, and how their bases agree with the annotation."""
    found = {}
    for kind, offset in offsets.items():
        number = 1 + job.scheme.classes.index(kind)
        counts = np.zeros((2, 2), dtype=np.int64)
        runs = 0
        for stretch, part in zip(job.parts.valid, scores, strict=True):
            truth = class_truth(job, stretch)
            guess = np.zeros(truth.shape, dtype=np.int8)
            for run in runs_of_class(part, job.scheme, kind, offset=offset):
                guess[int(run.strand < 0), run.start : run.end] = 1
                runs += 1
            known = truth >= 0
            counts += confusion((truth[known] == number).astype(np.int8), guess[known], 2)
        rest, wrong, missed, hit = counts.ravel().tolist()
        found[kind] = {"offset": offset, "runs": runs, **binary_scores(hit, wrong, missed, rest)}
    return found


def fit_caller(job: RegionsJob, task: BaseLabels, *, watch: Watch) -> Caller:
    """Learn the decoder that the job asks for."""
    return fit_spliced(job, task, watch=watch) if job.decode == "spliced" else fit_frames(job, task, watch=watch)


def fit_spliced(job: RegionsJob, task: BaseLabels, *, watch: Watch) -> SplicedCaller:
    """Count splice sites on all that is not held out, and choose the decoder's numbers on the part kept for it.

    Raises
    ------
    RangeError
        Too few annotated genes.
    """
    stretches = tuple(dict.fromkeys((*job.parts.train, *job.parts.fit)))
    counted = [(tokens_of(job, s), spliced_inside(job.genes[s.contig].spliced, s)) for s in stretches]
    count = sum(len(genes) for _, genes in counted)
    if count < FEWEST:
        raise RangeError(f"expected {FEWEST} annotated genes or more to learn from, found {count}; give decode=none")
    starts = job.config.labels.start_codons or ("ATG",)
    sites, hexamers = count_genes(counted, starts=starts)
    caller = SplicedCaller(job.scheme, job.code, starts, sites, hexamers, min_length=job.config.decoder.min_length)
    known = [
        AnnotatedStretch(
            tokens_of(job, stretch),
            score_stretch(task, job.genome, stretch, length=job.config.blocks.length, arm="reset", watch=watch),
            spliced_inside(job.genes[stretch.contig].spliced, stretch),
        )
        for stretch in job.parts.fit
    ]
    caller = caller.fitted(known)
    _log.info(
        "decoder: sites of %d genes; evidence %.1f, content %.1f, cost %.1f",
        count, caller.evidence, caller.content, caller.cost,
    )  # fmt: skip
    return caller


def fit_frames(job: RegionsJob, task: BaseLabels, *, watch: Watch) -> GeneCaller:
    """Count the plain scorer's tables on the training part, and learn the decoder's weights.

    The weights come from the part kept for it and from the end of each training stretch, `decoder.train_bases` in all:
    some thousands of genes place starts better than some hundreds, although the network has seen those.

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
    return replace(caller, weights=fit_weights(known, max_overlap=caller.max_overlap))


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


def _ends_of(stretches: Sequence[Stretch], bases: int) -> tuple[Stretch, ...]:
    """The last bases of the stretches, in proportion to their lengths, `bases` in all at most."""
    share = min(1.0, bases / max(sum(map(len, stretches)), 1))
    cut = [Stretch(s.contig, s.end - int(len(s) * share), s.end) for s in stretches]
    return tuple(stretch for stretch in cut if len(stretch))


def score_arm(
    job: RegionsJob, task: BaseLabels, caller: Caller | None, arm: Arm, *, watch: Watch
) -> tuple[ArmScores, list[ContigScores]]:
    """Score the held-out part in one arm."""
    began = time.monotonic()
    scores = [
        score_stretch(
            task, job.genome, stretch, length=job.config.blocks.length, arm=arm,
            carry_bases=job.config.evaluation.carry_bases, watch=watch,
        )
        for stretch in job.parts.valid
    ]  # fmt: skip
    names = ("none", *job.scheme.classes)
    truth = np.concatenate([class_truth(job, stretch).ravel() for stretch in job.parts.valid])
    found = np.concatenate([class_found(part, job).ravel() for part in scores])
    result = ArmScores(class_scores(truth, found, names), confusion(truth[truth >= 0], found[truth >= 0], len(names)))
    if isinstance(caller, SplicedCaller):
        placed = [
            caller.genes(tokens_of(job, stretch), part) for stretch, part in zip(job.parts.valid, scores, strict=True)
        ]
        result.exons = exon_table(job, placed)
    elif caller is not None:
        called = [
            caller.genes(job.genome.tokens(s.contig, s.start, s.end), part)
            for s, part in zip(job.parts.valid, scores, strict=True)
        ]
        result.genes, result.coding = gene_table(
            job.parts.valid, [as_intervals(genes) for genes in called], job.genes, job.config.evaluation.min_gene
        )
    result.seconds = time.monotonic() - began
    return result, scores


def exon_table(job: RegionsJob, called: Sequence[Sequence[PlacedGene]]) -> dict[str, Any]:
    """Coding parts and whole genes called on the held-out stretches against those annotated whole inside them."""
    found, wanted = [], []
    for number, (stretch, genes) in enumerate(zip(job.parts.valid, called, strict=True)):
        known = spliced_inside(job.genes[stretch.contig].spliced, stretch)
        found += [tuple((number, *part) for part in gene.coding_parts) for gene in genes]
        wanted += [tuple((number, *part) for part in parts_of([gene])) for gene in known]
    return compare_parts(found, wanted)


def spliced_inside(
    genes: Iterable[tuple[int, tuple[tuple[int, int], ...]]], stretch: Stretch
) -> list[tuple[int, tuple[tuple[int, int], ...]]]:
    """The genes that lie whole in a stretch, in its coordinates."""
    return [
        (strand, tuple((start - stretch.start, end - stretch.start) for start, end in parts))
        for strand, parts in genes
        if stretch.start <= parts[0][0] and parts[-1][1] <= stretch.end
    ]


def gene_table(
    stretches: Sequence[Stretch],
    called: Sequence[Sequence[Interval]],
    annotated: Mapping[str, ContigGenes],
    min_length: int,
) -> tuple[GeneScores, dict[str, float | None]]:
    """Compare genes called on stretches (in their own coordinates) with those annotated whole inside them."""
    found: list[Interval] = []
    wanted: list[Interval] = []
    others: list[Interval] = []
    counts = np.zeros(4, dtype=np.int64)
    shift = 0
    for stretch, genes in zip(stretches, called, strict=True):
        known = annotated[stretch.contig]
        inside = genes_inside(known.whole, stretch)
        # Stretches are laid end to end, so that genes of different contigs are different genes.
        found += [(start + shift, end + shift, strand) for start, end, strand in genes]
        wanted += [(start + shift, end + shift, strand) for start, end, strand in inside]
        others += [
            (start - stretch.start + shift, end - stretch.start + shift, strand)
            for start, end, strand in (*known.others, *known.whole)
            if start < stretch.end and end > stretch.start
        ]
        truth = coding_track(_clipped((*known.whole, *known.others), stretch), stretch.start, stretch.end)
        guess = coding_track(genes, 0, len(stretch))
        counts += confusion(truth, guess, 2).ravel()
        shift += len(stretch)
    rest, wrong, missed, hit = counts.tolist()
    scores = compare_genes(found, wanted, also_right=others, min_length=min_length)
    return scores, binary_scores(hit, wrong, missed, rest)


def as_intervals(genes: Iterable[Gene]) -> list[Interval]:
    """Where genes are."""
    return [(gene.start, gene.end, gene.strand) for gene in genes]


def class_truth(job: RegionsJob, stretch: Stretch) -> NDArray[np.int8]:
    """Class number of each base and strand, -1 where it does not count."""
    states = job.tracks[stretch.contig].states[:, stretch.start : stretch.end]
    table = np.array([*job.scheme.class_of_state, -1], dtype=np.int8)
    return table[states]


def class_found(scores: ContigScores, job: RegionsJob) -> NDArray[np.int8]:
    """The most probable class: states of a class count together."""
    classes = np.array(job.scheme.class_of_state)
    sums = [scores_of(scores, np.flatnonzero(classes == number)) for number in range(len(job.scheme.classes) + 1)]
    return np.argmax(np.stack(sums), axis=0).astype(np.int8)


def scores_of(scores: ContigScores, states: NDArray[np.int64]) -> NDArray[np.float32]:
    """Probability of any of some neighbouring states."""
    return scores.probability(range(int(states[0]), int(states[-1]) + 1))


def _clipped(genes: Iterable[Interval], stretch: Stretch) -> list[Interval]:
    return [
        (max(start, stretch.start), min(end, stretch.end), strand)
        for start, end, strand in genes
        if start < stretch.end and end > stretch.start and strand
    ]
