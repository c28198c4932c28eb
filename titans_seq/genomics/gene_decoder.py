"""From scores of bases to genes without introns: a dynamic programme over open reading frames.

A gene candidate k of an open frame scores

    S_k = logit P(its frame holds a gene) + CALLED + log P(start k | a gene there) - max over the frame's starts of that

from a handful of weights (:mod:`titans_seq.genomics.gene_weights`); the stop is given by the frame. A frame whose
start is in doubt is no less a gene for it: its likeliest start costs nothing. The best set of candidates with bounded
overlap,

    B_k = S_k + max(0, max over j that ends in front of k, or overlaps it by at most `max_overlap`, of B_j)

is found in one pass over candidates sorted by their ends. It runs twice: the second time each start also knows how far
the gene in front is, since the genes of an operon stand close together.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from titans_seq.errors import RangeError
from titans_seq.genomics.alphabet import N_TOKEN, Tokens, reverse_complement
from titans_seq.genomics.codon_scores import StrandScores
from titans_seq.genomics.gene_features import candidate_columns, gene_names, start_names
from titans_seq.genomics.gene_neighbours import PlacedGenes, neighbour_bins, one_hot
from titans_seq.genomics.gene_weights import GeneWeights, softmax_in_groups
from titans_seq.genomics.open_frames import GeneticCode, OpenFrames, open_frames
from titans_seq.genomics.start_sites import StartSites

Ints = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

STARTS_KEPT: Final = 6
"""Starts of one frame that enter the dynamic programme."""
LEAST: Final = -3.0
"""Candidates below this score cannot be worth their place."""
CALLED: Final = 1.0
"""Frames are called from log-odds of -1, or one in four: a gene that was never seen looks less sure than the genes that
the weights were learned from. Chosen on halves of the training part of E. coli."""


class Gene(NamedTuple):
    """A predicted gene, 0-based half-open on the forward strand, stop codon included.

    Attributes
    ----------
    start, end, strand
        Where it is.
    score
        Log-odds that its frame holds a gene.
    start_probability
        Of this start among those of the frame.
    open_left, open_right
        It runs off the sequence (or into a gap) at that side.
    """

    start: int
    end: int
    strand: int
    score: float
    start_probability: float
    open_left: bool
    open_right: bool


@dataclass(frozen=True)
class Strand:
    """One strand of a gap-free sequence, ready to be decoded."""

    tokens: Tokens
    frames: OpenFrames
    columns: dict[str, Vector]
    start_names: tuple[str, ...]
    gene_names: tuple[str, ...]
    sites: StartSites | None = None

    @classmethod
    def read(
        cls,
        tokens: Tokens,
        scores: StrandScores,
        code: GeneticCode,
        *,
        min_length: int,
        sites: StartSites | None = None,
    ) -> Strand:
        """Find the candidates and their columns; models from before `sites` were counted have none."""
        frames = open_frames(tokens, code, min_length=min_length)
        columns = candidate_columns(tokens, frames, scores, code.stops, sites)
        counted = sites is not None
        return cls(
            tokens, frames, columns, start_names(scores, sites=counted), gene_names(scores, sites=counted), sites
        )

    @cached_property
    def start_columns(self) -> Matrix:
        """Columns of the choice of a start, [K, P]."""
        return np.stack([self.columns[name] for name in self.start_names], 1)

    @cached_property
    def gene_columns(self) -> Matrix:
        """Columns of the choice of a frame, [K, Q]."""
        return np.stack([self.columns[name] for name in self.gene_names], 1)

    def near_columns(self, bins: Ints) -> tuple[Matrix, Matrix]:
        """What the gene in front adds to the columns of the starts and to those of the frames."""
        lit = one_hot(bins)
        return lit if self.sites is None else self.sites.near[bins].astype(np.float64)[:, None], lit


def decode_genes(
    strands: tuple[Strand, Strand], weights: GeneWeights, *, max_overlap: int = 60, shift: float = 0.0
) -> list[Gene]:
    """The genes of a gap-free sequence, in order.

    Parameters
    ----------
    strands
        The forward strand and the reverse one, over the same bases.
    max_overlap
        Bases that two genes may share.
    shift
        Added to the log-odds of every frame; see `titans_seq.genomics.gene_weights.prior_shift`.

    Raises
    ------
    RangeError
        A negative overlap.
    """
    if max_overlap < 0:
        raise RangeError(f"expected an overlap of at least 0 bases, found {max_overlap}")
    near = _near_first(strands, weights, max_overlap, shift)
    scored = [
        score_candidates(strand, weights.start_near, weights.gene_near, part, weights.gene_open)
        for strand, part in zip(strands, near, strict=True)
    ]
    return [node.gene for node in _chain(strands, scored, max_overlap, shift)]


def frame_odds(strands: tuple[Strand, Strand], weights: GeneWeights, *, max_overlap: int = 60) -> Vector:
    """Log-odds of every open frame of both strands that it holds a gene."""
    near = _near_first(strands, weights, max_overlap, 0.0)
    found = []
    for strand, part in zip(strands, near, strict=True):
        odds = score_candidates(strand, weights.start_near, weights.gene_near, part, weights.gene_open)[1]
        found.append(odds[np.unique(strand.frames.frame, return_index=True)[1]])
    return np.concatenate(found)


def _near_first(
    strands: tuple[Strand, Strand], weights: GeneWeights, max_overlap: int, shift: float
) -> tuple[Ints, Ints]:
    """The gene in front of every candidate, as the first pass finds it."""
    scored = [score_candidates(strand, weights.start, weights.gene, None, weights.gene_open) for strand in strands]
    return bins_of_chain(strands, scored, max_overlap=max_overlap, shift=shift)


def bins_of_chain(
    strands: tuple[Strand, Strand], scored: Sequence[tuple[Vector, Vector]], *, max_overlap: int, shift: float = 0.0
) -> tuple[Ints, Ints]:
    """The best chain of genes, as bins of the distance from every candidate to the gene in front."""
    size = strands[0].tokens.size
    placed = _by_strand(_chain(strands, scored, max_overlap, shift), size)
    return neighbour_bins((strands[0].frames, strands[1].frames), placed, size)


class _Node(NamedTuple):
    gene: Gene
    frame: int


def score_candidates(
    strand: Strand, start: Vector, gene: Vector, near: Ints | None, gene_open: Vector | None = None
) -> tuple[Vector, Vector]:
    """For every candidate: log P(start | frame), and its frame's log-odds at the most probable start."""
    starts, genes = strand.start_columns, strand.gene_columns
    if near is not None:
        more = strand.near_columns(near)
        starts, genes = np.concatenate([starts, more[0]], 1), np.concatenate([genes, more[1]], 1)
    log_p = softmax_in_groups(starts @ start, strand.frames.frame)
    best = best_in_groups(log_p, strand.frames.frame)
    odds = genes[best] @ gene
    if gene_open is not None:
        opened = strand.frames.open_start[best]
        odds[opened] = strand.gene_columns[best[opened]] @ gene_open
    return log_p, odds[strand.frames.frame]


def best_in_groups(score: Vector, group: Ints) -> Ints:
    """Row of the highest score of each group; groups are ascending and numbered from 0 without a gap."""
    order = np.lexsort((-score, group))
    return order[np.flatnonzero(np.r_[True, group[order][1:] != group[order][:-1]])] if score.size else order


def _chain(
    strands: tuple[Strand, Strand], scored: Sequence[tuple[Vector, Vector]], max_overlap: int, shift: float
) -> list[_Node]:
    """The best chain of genes, given log P(start | frame) and the log-odds of its frame for every candidate."""
    nodes: list[_Node] = []
    scores: list[float] = []
    for number, strand in enumerate(strands):
        if not len(strand.frames):
            continue
        log_p, odds = scored[number][0], scored[number][1] + shift
        frames = strand.frames
        rank = np.lexsort((-log_p, frames.frame))
        first = np.searchsorted(frames.frame[rank], frames.frame)
        worth = odds + CALLED + log_p - log_p[rank[first]]
        rows = rank[(np.arange(rank.size) - first[rank] < STARTS_KEPT) & (worth[rank] > LEAST)]
        size = strand.tokens.size
        for row in rows.tolist():
            begin, end = int(frames.start[row]), int(frames.end[row])
            opened = bool(frames.open_start[row]), bool(frames.open_end[row])
            if number:
                begin, end, opened = size - end, size - begin, opened[::-1]
            probability = float(np.exp(log_p[row]))
            found = Gene(begin, end, -1 if number else 1, float(odds[row]), probability, *opened)
            nodes.append(_Node(found, int(frames.frame[row])))
            scores.append(float(worth[row]))
    return _best_chain(nodes, scores, max_overlap)


def _best_chain(nodes: Sequence[_Node], scores: Sequence[float], max_overlap: int) -> list[_Node]:
    """The chain of nodes with the highest sum of scores; neighbours overlap by at most `max_overlap`."""
    order = sorted(range(len(nodes)), key=lambda i: (nodes[i].gene.end, nodes[i].gene.start))
    ends = [nodes[i].gene.end for i in order]
    totals: list[float] = []
    previous: list[int] = []
    prefix: list[tuple[float, int]] = [(0.0, -1)]  # best total among the first n nodes, and its node
    for place, index in enumerate(order):
        start = nodes[index].gene.start
        whole = bisect_right(ends, start, hi=place)
        best, before = prefix[whole]
        for other in range(whole, bisect_right(ends, start + max_overlap, hi=place)):
            gene = nodes[order[other]].gene
            if totals[other] > best and gene.start < start and gene.end < ends[place]:
                best, before = totals[other], other
        totals.append(scores[index] + best)
        previous.append(before)
        prefix.append(max(prefix[-1], (totals[-1], place)))
    chain = []
    at = prefix[-1][1]
    while at >= 0:
        chain.append(nodes[order[at]])
        at = previous[at]
    return chain[::-1]


def _by_strand(nodes: Sequence[_Node], size: int) -> tuple[PlacedGenes, PlacedGenes]:
    """The genes of each strand in its own coordinates, by start."""
    found = []
    for strand in (1, -1):
        rows = [
            (gene.start, gene.end, frame) if strand > 0 else (size - gene.end, size - gene.start, frame)
            for gene, frame in nodes
            if gene.strand == strand
        ]
        table = np.array(sorted(rows), dtype=np.int64).reshape(-1, 3)
        found.append(PlacedGenes(table[:, 0], table[:, 1], table[:, 2]))
    return found[0], found[1]


def both_strands(tokens: Tokens) -> tuple[Tokens, Tokens]:
    """The strand itself and its reverse complement."""
    return tokens, reverse_complement(tokens)


def gap_free(tokens: Tokens, *, gap: int = 20) -> list[tuple[int, int]]:
    """Parts of a sequence between runs of at least `gap` unknown bases."""
    unknown = np.flatnonzero(tokens == N_TOKEN)
    if not unknown.size:
        return [(0, tokens.size)]
    breaks = np.flatnonzero(np.diff(unknown) > 1)
    first, last = unknown[np.r_[0, breaks + 1]], unknown[np.r_[breaks, unknown.size - 1]] + 1
    long = last - first >= gap
    borders = [0, *np.stack([first[long], last[long]], 1).ravel().tolist(), tokens.size]
    return [(borders[i], borders[i + 1]) for i in range(0, len(borders), 2) if borders[i + 1] > borders[i]]
