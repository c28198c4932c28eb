"""The decoder's weights from annotated sequences: first those of the starts, then those of the frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from titans_seq.genomics.gene_decoder import Strand, best_in_groups, bins_of_chain, score_candidates
from titans_seq.genomics.gene_features import of_start
from titans_seq.genomics.gene_weights import Choices, GeneWeights, fit_choices, fit_logistic

Ints = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]


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
        scored = [score_candidates(strand, start, gene, None) for strand in part.strands]
        near.append(bins_of_chain(part.strands, scored, max_overlap=max_overlap))
    start_near, gene_near, _, _ = _fit_pass(known, near)
    names = known[0].strands[0]
    return GeneWeights(names.start_names, names.gene_names, start, gene, start_near, gene_near, gene_open, share)


def _fit_pass(known: Sequence[Known], near: Sequence[tuple[Ints, Ints] | None]) -> tuple[Vector, Vector, Vector, float]:
    choices, rows = [], []
    for part, extra in zip(known, near, strict=True):
        for number, strand in enumerate(part.strands):
            # A gene that the edge of a stretch cuts is not annotated as whole, so open frames teach nothing.
            opened = np.zeros(strand.frames.stop_end.size, dtype=np.bool_)
            opened[strand.frames.frame[strand.frames.open_start | strand.frames.open_end]] = True
            keep = (part.used[number] & ~opened)[strand.frames.frame]
            starts, genes = strand.start_columns, strand.gene_columns
            if extra is not None:
                more = strand.near_columns(extra[number])
                starts, genes = np.concatenate([starts, more[0]], 1), np.concatenate([genes, more[1]], 1)
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
        if of_start(name):
            blind[:, column] = 0.0
    return weights, fit_logistic(table, holds), fit_logistic(blind, holds), share
