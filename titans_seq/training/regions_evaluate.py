"""Score a labelling model on the held-out part: base by base in every arm, and gene by gene."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from titans_seq.genomics import Stretch
from titans_seq.genomics.gene_decoder import Gene
from titans_seq.genomics.labels import INTRON
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
from titans_seq.tasks.gene_calls import ContigScores
from titans_seq.tasks.label_scan import Arm
from titans_seq.tasks.run_calls import RunRule, runs_of_class
from titans_seq.tasks.spliced_calls import PlacedGene, SplicedCaller, parts_of
from titans_seq.training.regions_decoder import (
    Caller,
    Watch,
    class_truth,
    genes_inside,
    score_stretch,
    spliced_inside,
    tokens_of,
)
from titans_seq.training.regions_job import ContigGenes, RegionsJob


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
    decoded
        Rows of `class_scores` where those genes say what is coding and what intron; see `decoded_classes`.
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
    decoded: list[dict[str, Any]] | None = None
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
            "decoded": self.decoded,
            "runs": self.runs,
            "coding": self.coding,
            "seconds": round(self.seconds, 1),
        }


def run_table(
    job: RegionsJob, scores: Sequence[ContigScores], rules: Mapping[str, RunRule]
) -> dict[str, dict[str, Any]]:
    """Number of the runs of each class on the held-out part, and how their bases agree with the annotation."""
    found = {}
    for kind, rule in rules.items():
        number = 1 + job.scheme.classes.index(kind)
        counts = np.zeros((2, 2), dtype=np.int64)
        runs = 0
        for stretch, part in zip(job.parts.valid, scores, strict=True):
            truth = class_truth(job, stretch)
            guess = np.zeros(truth.shape, dtype=np.int8)
            for run in runs_of_class(tokens_of(job, stretch), part, job.scheme, kind, rule):
                guess[int(run.strand < 0), run.start : run.end] = 1
                runs += 1
            known = truth >= 0
            counts += confusion((truth[known] == number).astype(np.int8), guess[known], 2)
        rest, wrong, missed, hit = counts.ravel().tolist()
        found[kind] = {
            "by": "network" if rule.letters is None else "letters",
            "runs": runs,
            **binary_scores(hit, wrong, missed, rest),
        }
    return found


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
        result.decoded = class_scores(truth, decoded_classes(job, placed, found), names)
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
    """Coding parts and whole genes called on the held-out stretches against those annotated whole inside them.

    A part called on bases that do not count (a pseudogene) is neither right nor wrong.
    """
    found, wanted = [], []
    for number, (stretch, genes) in enumerate(zip(job.parts.valid, called, strict=True)):
        known = spliced_inside(job.genes[stretch.contig].spliced, stretch)
        ignored = class_truth(job, stretch) < 0
        for gene in genes:
            parts = [part for part in gene.coding_parts if ignored[int(part[2] < 0), part[0] : part[1]].mean() <= 0.5]
            if parts:
                found.append(tuple((number, *part) for part in parts))
        wanted += [tuple((number, *part) for part in parts_of([gene])) for gene in known]
    return compare_parts(found, wanted)


def decoded_classes(
    job: RegionsJob, called: Sequence[Sequence[PlacedGene]], labels: NDArray[np.int8] | None = None
) -> NDArray[np.int8]:
    """The class of every held-out base, stretch by stretch and flat, as genes put together say it.

    What the genes say nothing of (UTRs, say) has the class that `labels` gives, but never coding or intron.
    """
    coding, intron = (1 + job.scheme.classes.index(kind) for kind in (job.scheme.framed or "", INTRON))
    size = sum(2 * len(stretch) for stretch in job.parts.valid)
    classes = np.zeros(size, dtype=np.int8) if labels is None else labels.copy()
    classes[np.isin(classes, (coding, intron))] = 0
    shift = 0
    for stretch, genes in zip(job.parts.valid, called, strict=True):
        own = classes[shift : shift + 2 * len(stretch)].reshape(2, -1)
        for gene in genes:
            row = int(gene.strand < 0)
            own[row, gene.parts[0][0] : gene.parts[-1][1]] = intron
            for start, end in gene.parts:
                own[row, start:end] = coding
        shift += own.size
    return classes


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
