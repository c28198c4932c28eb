"""How well predicted genes and labels agree with annotated ones: by stop, by start and stop, and base by base.

A gene is known by its strand and the place of its stop codon; given the stop, the start is right or wrong. Only genes
of at least `min_length` bases count, on both sides; a prediction is right when its stop is that of *any* annotated
coding feature, short ones and pseudogenes included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Interval = tuple[int, int, int]
"""Start, end (0-based half-open on the forward strand) and strand (+1, -1) of a gene."""

Parts = tuple[tuple[int, ...], ...]
"""The coding parts of a gene, each a tuple that says where it is."""

Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class GeneScores:
    """Agreement of predicted with annotated genes.

    Attributes
    ----------
    annotated, predicted
        Genes that count.
    stops
        Share of the annotated genes whose stop was predicted.
    precision
        Share of the predicted genes whose stop is annotated.
    exact
        Share of the annotated genes predicted with their stop and their start.
    """

    annotated: int
    predicted: int
    stops: float
    precision: float
    exact: float

    def to_json(self) -> dict[str, Any]:
        """For a report; None where there was nothing to count."""
        return {name: None if value != value else value for name, value in asdict(self).items()}


def compare_genes(
    predicted: Iterable[Interval],
    annotated: Iterable[Interval],
    *,
    also_right: Iterable[Interval] = (),
    min_length: int = 300,
) -> GeneScores:
    """Compare genes that lie whole inside the part that is looked at; the caller chooses them.

    Parameters
    ----------
    also_right
        Coding features that need not be found, but whose stop a prediction may have.

    Example: one annotated gene 0..300, predictions 30..300 and 400..700 on the same strand: stops 1, exact 0,
    precision 1/2.
    """
    found = [gene for gene in predicted if gene[1] - gene[0] >= min_length]
    wanted = [gene for gene in annotated if gene[1] - gene[0] >= min_length]
    stops, whole = {stop_of(gene) for gene in found}, set(found)
    right = {stop_of(gene) for gene in annotated} | {stop_of(gene) for gene in also_right}
    return GeneScores(
        len(wanted),
        len(found),
        _share(stop_of(gene) in stops for gene in wanted),
        _share(stop_of(gene) in right for gene in found),
        _share(gene in whole for gene in wanted),
    )


def compare_parts(predicted: Sequence[Parts], annotated: Sequence[Parts]) -> dict[str, Any]:
    """Compare genes with introns part by part: a coding part is right when both of its ends are, a gene when all are.

    Isoforms count with every part that they do not share, and as genes of their own; they are found less often for it.

    Example: annotated 0..9, 20..30 of one gene, predicted 0..9, 21..30: parts have recall and precision 1/2, genes 0.
    """
    found, wanted = ({part for gene in genes for part in gene} for genes in (predicted, annotated))
    whole, known = set(predicted), set(annotated)
    hit, right = len(found & wanted), len(whole & known)
    return {
        "annotated": len(wanted),
        "predicted": len(found),
        "recall": hit / len(wanted) if wanted else None,
        "precision": hit / len(found) if found else None,
        "f1": 2 * hit / (len(found) + len(wanted)) if found or wanted else None,
        "genes": len(known),
        "genes_predicted": len(whole),
        "genes_exact": right / len(known) if known else None,
    }


def stop_of(gene: Interval) -> tuple[int, int]:
    """What a gene is known by: its strand and the coordinate where it ends in reading direction."""
    start, end, strand = gene
    return strand, end if strand > 0 else start


def class_scores(truth: Labels, found: Labels, names: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and Matthews correlation of each class, one against the rest.

    Parameters
    ----------
    truth, found
        Class numbers of any shape; bases whose truth is negative are left out.
    names
        Of the classes, by number; class 0 is "none" and comes last.
    """
    known = truth >= 0
    pairs = confusion(truth[known], found[known], len(names))
    rows = []
    for number in (*range(1, len(names)), 0):
        hit, wrong = int(pairs[number, number]), int(pairs[:, number].sum() - pairs[number, number])
        missed = int(pairs[number].sum()) - hit
        rest = int(pairs.sum()) - hit - wrong - missed
        rows.append({"class": names[number], "bases": hit + missed, **binary_scores(hit, wrong, missed, rest)})
    return rows


def binary_scores(hit: int, wrong: int, missed: int, rest: int) -> dict[str, float | None]:
    """Precision, recall, F1 and Matthews correlation from counts; None where one is not defined."""
    precision = hit / (hit + wrong) if hit + wrong else None
    recall = hit / (hit + missed) if hit + missed else None
    root = float(hit + wrong) * float(hit + missed) * float(rest + wrong) * float(rest + missed)
    mcc = (float(hit) * rest - float(wrong) * missed) / root**0.5 if root else None
    f1 = 2 * hit / (2 * hit + wrong + missed) if hit + wrong + missed else None
    return {"precision": precision, "recall": recall, "f1": f1, "mcc": mcc}


def confusion(truth: Labels, found: Labels, classes: int) -> npt.NDArray[np.int64]:
    """Counts [classes, classes]: row truth, column found."""
    index = truth.astype(np.int64).ravel() * classes + found.astype(np.int64).ravel()
    return np.bincount(index, minlength=classes * classes).reshape(classes, classes)


def coding_track(genes: Iterable[Interval], start: int, end: int) -> npt.NDArray[np.int8]:
    """1 where a gene covers a base of its strand, int8 [2, end - start]; row 0 is strand +1."""
    track = np.zeros((2, end - start), dtype=np.int8)
    for left, right, strand in genes:
        track[int(strand < 0), max(left - start, 0) : max(right - start, 0)] = 1
    return track


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall at falling thresholds, thinned, and the area by steps (average precision)."""

    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    area: float
    prevalence: float


def precision_recall(
    truth: npt.NDArray[np.bool_], probability: npt.NDArray[np.floating], bins: int = 512
) -> PrecisionRecall:
    """The curve over `bins` thresholds of a probability, from a histogram: any number of bases, little RAM."""
    place = np.minimum((np.clip(probability.ravel(), 0, 1) * bins).astype(np.int64), bins - 1)
    flat = truth.ravel()
    hits = np.bincount(place[flat], minlength=bins)[::-1].cumsum()
    taken = np.bincount(place, minlength=bins)[::-1].cumsum()
    positives = max(int(hits[-1]), 1)
    precision, recall = hits / np.maximum(taken, 1), hits / positives
    area = float((np.diff(np.r_[0.0, recall]) * precision).sum())
    return PrecisionRecall(precision, recall, area, float(flat.mean()) if flat.size else float("nan"))


def _share(flags: Iterable[bool]) -> float:
    values = list(flags)
    return sum(values) / len(values) if values else float("nan")
