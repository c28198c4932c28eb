"""Choose how each class that is written as runs of bases is found: by the network, or by its letters."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from titans_seq.genomics import Stretch
from titans_seq.tasks.base_labels import BaseLabels
from titans_seq.tasks.run_calls import (
    LabelledPart,
    RunRule,
    best_rule,
    count_letters,
    letter_table,
    run_agreement,
)
from titans_seq.training.regions_decoder import Watch, class_truth, score_stretch, tokens_of
from titans_seq.training.regions_job import RegionsJob
from titans_seq.training.regions_streams import RARE

_log = logging.getLogger(__name__)

OFFSETS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
"""Of the network's log-odds; the first is taken where none is better."""
LETTERS = ((1.0, 8.0), (2.0, 12.0), (2.0, 20.0))
"""Weights of the letters and penalties of a run that are tried."""
FOLDS = 4


def fit_runs(job: RegionsJob, task: BaseLabels, *, watch: Watch) -> dict[str, RunRule]:
    """The rule of each class without genes, chosen on the part kept for the decoder.

    Letters are tried for classes rarer than `RARE`; weight and penalty are chosen on the training part, on each of its
    `FOLDS` pieces with what was counted on the others.
    """
    length = job.config.blocks.length
    parts = [
        LabelledPart(
            tokens_of(job, stretch),
            score_stretch(task, job.genome, stretch, length=length, arm="reset", watch=watch),
            class_truth(job, stretch),
        )
        for stretch in job.parts.fit
    ]
    rules = {}
    for kind in job.scheme.classes:
        if kind == job.scheme.framed and job.decode is not None:
            continue
        rules[kind], reached = best_rule(parts, [RunRule(offset=offset) for offset in OFFSETS], job.scheme, kind)
        by_letters = _letters_rule(job, kind)
        if by_letters is None:
            continue
        rule, crossed = by_letters
        seen = job.parts.fit == job.parts.train
        if (crossed if seen else best_rule(parts, [rule], job.scheme, kind)[1]) > reached:
            _log.info("%s is found by its letters: their runs agree better than the network's (%.2f)", kind, reached)
            rules[kind] = rule
    return rules


def _letters_rule(job: RegionsJob, kind: str) -> tuple[RunRule, float] | None:
    """The best rule by letters for a rare class and its agreement across folds; None for others."""
    number = 1 + job.scheme.classes.index(kind)
    folds = [_pieces(job, fold) for fold in range(FOLDS)]
    counts = np.stack([count_letters(fold, number) for fold in folds])
    total = counts.sum(0)
    if not 0 < total[0].sum() < RARE * total.sum():
        return None
    tables = [letter_table(total - own) for own in counts]

    def agreement(weight: float, penalty: float) -> float:
        pairs = [
            (part, RunRule(letters=weight * table, penalty=penalty))
            for fold, table in zip(folds, tables, strict=True)
            for part in fold
        ]
        return run_agreement(pairs, job.scheme, kind)

    reached, weight, penalty = max((agreement(*pair), *pair) for pair in LETTERS)
    return RunRule(letters=weight * letter_table(total), penalty=penalty), reached


def _pieces(job: RegionsJob, fold: int) -> Sequence[LabelledPart]:
    """A quarter of every training stretch."""
    found = []
    for stretch in job.parts.train:
        borders = np.linspace(stretch.start, stretch.end, FOLDS + 1).astype(int).tolist()
        start, end = list(pairwise(borders))[fold]
        piece = Stretch(stretch.contig, start, end)
        if len(piece):
            found.append(LabelledPart(tokens_of(job, piece), None, class_truth(job, piece)))
    return found
