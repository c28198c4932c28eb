"""From scores of bases to genes without introns: a dynamic programme over open reading frames.

A gene candidate k of an open frame scores

    S_k = logit P(its frame holds a gene) + log P(start k | a gene there)

from a handful of weights (:mod:`titans_seq.genomics.gene_weights`); the stop is given by the frame. The best set of
candidates with bounded overlap,

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
from titans_seq.genomics.gene_features import (
    candidate_columns,
    gene_names,
    neighbour_columns,
    start_names,
)
from titans_seq.genomics.gene_weights import (
    Choices,
    GeneWeights,
    fit_choices,
    fit_logistic,
    softmax_in_groups,
)
from titans_seq.genomics.open_frames import GeneticCode, OpenFrames, open_frames

Ints = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

STARTS_KEPT: Final = 6
"""Starts of one frame that enter the dynamic programme."""
LEAST: Final = -3.0
"""Candidates below this score cannot be worth their place."""
_FAR: Final = 10**6


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

    @classmethod
    def read(
        cls, tokens: Tokens, scores: StrandScores, code: GeneticCode, *, min_length: int, partial: bool = True
    ) -> Strand:
        """Find the candidates and their columns."""
        frames = open_frames(tokens, code, min_length=min_length, partial=partial)
        columns = candidate_columns(tokens, frames, scores, code.stops)
        return cls(tokens, frames, columns, start_names(scores), gene_names(scores))

    @cached_property
    def start_columns(self) -> Matrix:
        """Columns of the choice of a start, [K, P]."""
        return np.stack([self.columns[name] for name in self.start_names], 1)

    @cached_property
    def gene_columns(self) -> Matrix:
        """Columns of the choice of a frame, [K, Q]."""
        return np.stack([self.columns[name] for name in self.gene_names], 1)


class _Chosen(NamedTuple):
    """Genes of one strand in strand coordinates, and the number of their frames."""

    start: Ints
    end: Ints
    frame: Ints


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
        _scored(strand, weights.start_near, weights.gene_near, part, weights.gene_open)
        for strand, part in zip(strands, near, strict=True)
    ]
    return [node.gene for node in _chain(strands, scored, max_overlap, shift)]


def frame_odds(strands: tuple[Strand, Strand], weights: GeneWeights, *, max_overlap: int = 60) -> Vector:
    """Log-odds of every open frame of both strands that it holds a gene."""
    near = _near_first(strands, weights, max_overlap, 0.0)
    found = []
    for strand, part in zip(strands, near, strict=True):
        odds = _scored(strand, weights.start_near, weights.gene_near, part, weights.gene_open)[1]
        found.append(odds[np.unique(strand.frames.frame, return_index=True)[1]])
    return np.concatenate(found)


def _near_first(
    strands: tuple[Strand, Strand], weights: GeneWeights, max_overlap: int, shift: float
) -> tuple[Matrix, Matrix]:
    """Columns of the gene in front, as the first pass finds it."""
    scored = [_scored(strand, weights.start, weights.gene, None, weights.gene_open) for strand in strands]
    size = strands[0].tokens.size
    return _near(strands, _by_strand(_chain(strands, scored, max_overlap, shift), size), size)


class _Node(NamedTuple):
    gene: Gene
    frame: int


def _scored(
    strand: Strand, start: Vector, gene: Vector, near: Matrix | None, gene_open: Vector | None = None
) -> tuple[Vector, Vector]:
    """For every candidate: log P(start | frame), and its frame's log-odds at the most probable start."""
    starts, genes = strand.start_columns, strand.gene_columns
    if near is not None:
        starts, genes = np.concatenate([starts, near], 1), np.concatenate([genes, near], 1)
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
        place = np.arange(rank.size) - np.searchsorted(frames.frame[rank], frames.frame[rank])
        rows = rank[(place < STARTS_KEPT) & ((odds + log_p)[rank] > LEAST)]
        size = strand.tokens.size
        for row in rows.tolist():
            begin, end = int(frames.start[row]), int(frames.end[row])
            opened = bool(frames.open_start[row]), bool(frames.open_end[row])
            if number:
                begin, end, opened = size - end, size - begin, opened[::-1]
            probability = float(np.exp(log_p[row]))
            found = Gene(begin, end, -1 if number else 1, float(odds[row]), probability, *opened)
            nodes.append(_Node(found, int(frames.frame[row])))
            scores.append(float(odds[row] + log_p[row]))
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


def _by_strand(nodes: Sequence[_Node], size: int) -> tuple[_Chosen, _Chosen]:
    """The genes of each strand in its own coordinates, by start."""
    found = []
    for strand in (1, -1):
        rows = [
            (gene.start, gene.end, frame) if strand > 0 else (size - gene.end, size - gene.start, frame)
            for gene, frame in nodes
            if gene.strand == strand
        ]
        table = np.array(sorted(rows), dtype=np.int64).reshape(-1, 3)
        found.append(_Chosen(table[:, 0], table[:, 1], table[:, 2]))
    return found[0], found[1]


def _near(strands: tuple[Strand, Strand], chosen: tuple[_Chosen, _Chosen], size: int) -> tuple[Matrix, Matrix]:
    """Columns of the distance to the gene in front, for the candidates of both strands."""
    columns = []
    for number, strand in enumerate(strands):
        own, other = chosen[number], chosen[1 - number]
        start = strand.frames.start
        index = np.searchsorted(own.start, start) - 1  # the last gene that begins in front
        same = _distance(start, own, index)
        mine = (
            np.flatnonzero((index >= 0) & (own.frame[np.maximum(index, 0)] == strand.frames.frame))
            if len(own.frame)
            else np.empty(0, dtype=np.int64)
        )
        same[mine] = _distance(start[mine], own, index[mine] - 1)
        flipped = np.argsort(size - other.end)
        mirrored = _Chosen((size - other.end)[flipped], (size - other.start)[flipped], other.frame[flipped])
        across = _distance(start, mirrored, np.searchsorted(mirrored.start, start) - 1)
        columns.append(neighbour_columns(start, before_same=same, before_other=across))
    return columns[0], columns[1]


def _distance(start: Ints, genes: _Chosen, index: Ints) -> Ints:
    if not genes.end.size:
        return np.full(start.size, _FAR)
    return np.where(index >= 0, start - genes.end[np.maximum(index, 0)], _FAR)


@dataclass(frozen=True)
class Known:
    """What is annotated on the two strands of one sequence.

    Attributes
    ----------
    strands
        Its candidates.
    chosen
        For each strand, True for candidates that are annotated genes, bool [K].
    used
        For each strand, frames to learn from, bool [F].
    """

    strands: tuple[Strand, Strand]
    chosen: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
    used: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]


def fit_weights(known: Sequence[Known], *, max_overlap: int = 60) -> GeneWeights:
    """Learn the weights of both passes from annotated sequences, one or more."""
    start, gene, gene_open, share = _fit_pass(known, [None] * len(known))
    near = []
    for part in known:
        size = part.strands[0].tokens.size
        scored = [_scored(strand, start, gene, None) for strand in part.strands]
        nodes = _chain(part.strands, scored, max_overlap, 0.0)
        near.append(_near(part.strands, _by_strand(nodes, size), size))
    start_near, gene_near, _, _ = _fit_pass(known, near)
    names = known[0].strands[0]
    return GeneWeights(names.start_names, names.gene_names, start, gene, start_near, gene_near, gene_open, share)


def _fit_pass(
    known: Sequence[Known], near: Sequence[tuple[Matrix, Matrix] | None]
) -> tuple[Vector, Vector, Vector, float]:
    choices, rows = [], []
    for part, extra in zip(known, near, strict=True):
        for number, strand in enumerate(part.strands):
            # A gene that the edge of a stretch cuts is not annotated as whole, so open frames teach nothing.
            opened = np.zeros(strand.frames.stop_end.size, dtype=np.bool_)
            opened[strand.frames.frame[strand.frames.open_start | strand.frames.open_end]] = True
            keep = (part.used[number] & ~opened)[strand.frames.frame]
            starts, genes = strand.start_columns, strand.gene_columns
            if extra is not None:
                starts, genes = np.concatenate([starts, extra[number]], 1), np.concatenate([genes, extra[number]], 1)
            group = np.unique(strand.frames.frame[keep], return_inverse=True)[1].astype(np.int64)
            choices.append(Choices(starts[keep], group, part.chosen[number][keep]))
            rows.append((genes[keep], group, part.chosen[number][keep]))
    weights = fit_choices(choices)
    columns, truth = [], []
    for choice, (genes, group, chosen) in zip(choices, rows, strict=True):
        best = best_in_groups(choice.columns @ weights, group)
        columns.append(genes[best])
        truth.append(np.bincount(group, weights=chosen, minlength=best.size) > 0)
    holds = np.concatenate(truth)
    share = float((holds.sum() + 0.5) / (holds.size + 1))
    table = np.concatenate(columns)
    blind = table.copy()
    for column, name in enumerate(known[0].strands[0].gene_names):
        if name.startswith("start/") or name in ("GTG", "TTG"):
            blind[:, column] = 0.0
    return weights, fit_logistic(table, holds), fit_logistic(blind, holds), share


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


__all__ = ["Gene", "Known", "Strand", "both_strands", "decode_genes", "fit_weights", "frame_odds", "gap_free"]
