"""The decoder's few weights, and how they are learned from annotated frames by two small convex problems.

    which start   P(start k | frame has a gene)  = softmax over its candidates of  x_k . a     (conditional logit)
    whether       P(frame has a gene)            = sigmoid(z . b),  z at the likeliest start   (logistic)

Both are fitted by Newton's method with a ridge, in a second or less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from titans_seq.genomics.gene_neighbours import NEIGHBOURS
from titans_seq.genomics.start_sites import COLUMNS

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


_VECTORS = ("start", "gene", "start_near", "gene_near", "gene_open")


@dataclass(frozen=True)
class GeneWeights:
    """Weights of both passes: without and with the distance to the gene in front.

    Attributes
    ----------
    start_names, gene_names : tuple of str
        Names of the columns; see `titans_seq.genomics.gene_features`.
    start, gene : float64
        Their weights.
    start_near, gene_near : float64
        The same and that of the gene in front: for frames, and for starts in models from before tables of start sites,
        `NEIGHBOURS` weights, one for each bin of its distance; for starts otherwise one, of the bin's log-odds.
    gene_open : float64
        Like `gene`, without the evidence at a start, for a gene that begins off the sequence.
    share : float
        Of the frames that they were learned from, those that held a gene.
    """

    start_names: tuple[str, ...]
    gene_names: tuple[str, ...]
    start: Vector
    gene: Vector
    start_near: Vector
    gene_near: Vector
    gene_open: Vector
    share: float

    def mean_with(self, other: GeneWeights) -> GeneWeights:
        """Half of each; `other` may lack columns, which then weigh nothing there. The share stays."""
        mixed = {}
        for name in _VECTORS:
            kind = name.partition("_")[0]
            names, known = getattr(self, f"{kind}_names"), getattr(other, f"{kind}_names")
            own, given = getattr(self, name), getattr(other, name)
            more = np.zeros_like(own)
            more[[names.index(column) for column in known]] = given[: len(known)]
            more[len(names) :] = given[len(known) :]
            mixed[name] = (own + more) / 2
        return replace(self, **mixed)

    def to_json(self) -> dict[str, Any]:
        """As lists, with the names of the columns."""
        vectors = {name: [round(float(value), 6) for value in getattr(self, name)] for name in _VECTORS}
        return {
            "start_names": list(self.start_names),
            "gene_names": list(self.gene_names),
            "share": self.share,
            **vectors,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> GeneWeights:
        """Undo :meth:`to_json`; sizes that do not fit raise ValueError."""
        starts, genes = tuple(record["start_names"]), tuple(record["gene_names"])
        vectors = {name: np.array(record[name], dtype=np.float64) for name in _VECTORS}
        found = cls(start_names=starts, gene_names=genes, share=float(record["share"]), **vectors)
        sizes = [getattr(found, name).size for name in _VECTORS]
        near = 1 if COLUMNS[0] in starts else NEIGHBOURS
        if sizes != [len(starts), len(genes), len(starts) + near, len(genes) + NEIGHBOURS, len(genes)]:
            raise ValueError("the decoder's columns belong to another version of titans-seq")
        return found


@dataclass(frozen=True)
class Choices:
    """Candidates in groups (frames) and what is known of them.

    Attributes
    ----------
    columns : float64 [K, P]
    group : int64 [K]
        Ascending.
    chosen : bool [K]
        The annotated start of its frame; at most one in a group.
    """

    columns: Matrix
    group: Ints
    chosen: npt.NDArray[np.bool_]


def softmax_in_groups(score: Vector, group: Ints) -> Vector:
    """Log of the softmax of `score` over each group; `group` is ascending and every number from 0 on occurs."""
    if not score.size:
        return score
    first = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    number = np.cumsum(np.r_[False, group[1:] != group[:-1]])
    top = np.maximum.reduceat(score, first)
    total = np.add.reduceat(np.exp(score - top[number]), first)
    return score - top[number] - np.log(total)[number]


def fit_choices(parts: Sequence[Choices], *, ridge: float = 0.1, steps: int = 25) -> Vector:
    """Weights `a` of the conditional logit; frames without a chosen candidate, or with one candidate, say nothing."""
    kept = [_informative(part) for part in parts]
    offsets = np.cumsum([0, *(int(part.group[-1]) + 1 if part.group.size else 0 for part in kept)])
    columns = np.concatenate([part.columns for part in kept])
    group = np.concatenate([part.group + at for part, at in zip(kept, offsets, strict=False)])
    chosen = np.concatenate([part.chosen for part in kept])
    size = columns.shape[1]
    weights = np.zeros(size)
    if not chosen.any():
        return weights
    count = int(group[-1]) + 1
    for _ in range(steps):
        p = np.exp(softmax_in_groups(columns @ weights, group))
        mean = np.zeros((count, size))
        np.add.at(mean, group, p[:, None] * columns)
        gradient = columns[chosen].sum(0) - mean.sum(0) - ridge * weights
        hessian = (columns * p[:, None]).T @ columns - mean.T @ mean + ridge * np.eye(size)
        step = _limited(np.linalg.solve(hessian, gradient).astype(np.float64))
        weights = weights + step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def fit_logistic(columns: Matrix, truth: npt.NDArray[np.bool_], *, ridge: float = 0.1, steps: int = 40) -> Vector:
    """Weights `b` of the logistic regression."""
    weights = np.zeros(columns.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(columns @ weights, -40, 40)))
        gradient = columns.T @ (truth - p) - ridge * weights
        hessian = (columns * (p * (1 - p))[:, None]).T @ columns + ridge * np.eye(weights.size)
        step = _limited(np.linalg.solve(hessian, gradient).astype(np.float64))
        weights = weights + step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def prior_shift(log_odds: Vector, share: float, *, steps: int = 50) -> float:
    """What to add to the log-odds of frames where another share of them holds genes, learned without labels.

    Expectation and maximisation over the share pi alone, the odds p_i / (1 - p_i) having been learned at `share`:

        pi <- mean of sigmoid(log_odds_i + logit pi - logit share)

    Source: Saerens, Latinne and Decaestecker, Neural Computation 14 (2002).
    """
    base = np.log(share) - np.log1p(-share)
    pi = share
    for _ in range(steps):
        shifted = np.clip(log_odds + np.log(pi) - np.log1p(-pi) - base, -40, 40)
        pi = float(np.clip((1 / (1 + np.exp(-shifted))).mean(), 1e-6, 1 - 1e-6))
    return float(np.log(pi) - np.log1p(-pi) - base)


def _limited(step: Vector) -> Vector:
    """A Newton step no longer than 3: far from the optimum the quadratic is no guide."""
    size = float(np.linalg.norm(step))
    return step if size <= 3 else step * (3 / size)


def _informative(part: Choices) -> Choices:
    """Only frames with a chosen candidate and another one, numbered anew."""
    frames = int(part.group[-1]) + 1 if part.group.size else 0
    counts = np.bincount(part.group, minlength=frames)
    hits = np.bincount(part.group[part.chosen], minlength=frames)
    keep = ((counts > 1) & (hits == 1))[part.group]
    numbers = np.unique(part.group[keep], return_inverse=True)[1]
    return Choices(part.columns[keep], numbers.astype(np.int64), part.chosen[keep])
