"""How well anomaly scores rank the rows of a series: VUS-PR (ranges with a buffer), and by single rows AUPRC, AUROC.

A labelled anomaly is a range of rows, and its ends are rarely certain. For a buffer of l rows the label of a row at
distance d <= l // 2 from a range is soft, inside it is 1, elsewhere 0::

    label_l[t] = min(1, sum over ranges of sqrt(1 - d / l))
    P_l        = sum_t (label[t] + label_l[t]) / 2
    at a threshold, pred[t] = score[t] >= threshold:
    TP         = sum_t label_l[t] pred[t]
    recall     = min(1, TP / P_l) x (share of the extended ranges in which pred is 1 anywhere)
    precision  = TP / sum_t pred[t]
    AP_l       = sum over falling thresholds of (recall - recall before) precision
    VUS-PR     = mean of AP_l over l = 0 .. buffer

Source: Paparrizos et al., Volume Under the Surface, PVLDB 15(11) 2774, 2022 (doi 10.14778/3551793.3551830), and the
TSB-AD benchmark (NeurIPS 2024), which ranks by it. We use every distinct score as a threshold where the authors'
package samples 250; what that and its faster variant change is measured by ``tests/benchmarks/vus_check.py``.
No point adjustment anywhere.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from titans_seq.errors import RangeError, ShapeError

Scores = npt.NDArray[np.floating]
Labels = npt.NDArray[np.bool_]

BUFFER: Final = 100
"""Longest buffer in rows, unless given."""


def vus_pr(scores: Scores, labels: Labels, *, buffer: int = BUFFER) -> float:
    """Volume under the range-precision-recall surface.

    Parameters
    ----------
    scores
        Higher is more anomalous, [T], without NaN.
    labels
        True inside an anomaly, [T].
    buffer
        Longest buffer, in rows. 0 is average precision by rows times the share of ranges found.

    Returns
    -------
    float
        0 to 1; NaN where nothing is labelled. Random scores get about the share of labelled rows.

    Raises
    ------
    ShapeError, RangeError
        Arrays that do not match; a score that is NaN; a buffer below 0.

    Examples
    --------
    >>> vus_pr(np.array([0.0, 0.1, 0.9, 0.2]), np.array([False, False, True, False]), buffer=0)
    1.0
    """
    scores, labels = _checked(scores, labels)
    if buffer < 0:
        raise RangeError(f"expected a buffer of 0 rows or more, found {buffer}")
    if not labels.any():
        return float("nan")
    order, last = _descending(scores)
    runs = label_runs(labels)
    precisions = [_range_precision(scores, labels, runs, order, last, length) for length in range(buffer + 1)]
    return float(np.mean(precisions))


def auprc(scores: Scores, labels: Labels) -> float:
    """Average precision by single rows: sum of (recall - recall before) x precision; NaN without labelled rows."""
    scores, labels = _checked(scores, labels)
    if not labels.any():
        return float("nan")
    order, last = _descending(scores)
    hits = np.cumsum(labels[order])[last]
    recall = hits / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * hits / (last + 1)))


def auroc(scores: Scores, labels: Labels) -> float:
    """Chance that a labelled row scores above an unlabelled one (ties count half); NaN where one kind is missing."""
    scores, labels = _checked(scores, labels)
    inside, outside = int(labels.sum()), int((~labels).sum())
    if not inside or not outside:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((rank[labels].sum() - inside * (inside + 1) / 2) / (inside * outside))


def label_runs(labels: Labels) -> npt.NDArray[np.int64]:
    """First and last row of every run of True, int64 [runs, 2]: ``[F, T, T, F, T] -> [[1, 2], [4, 4]]``."""
    edges = np.flatnonzero(np.diff(labels.astype(np.int8), prepend=0, append=0))
    return np.stack([edges[::2], edges[1::2] - 1], axis=1)


def soft_labels(labels: Labels, runs: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.float64]:
    """Labels with a buffer of ``length`` rows around every run, float64 [T]."""
    soft = labels.astype(np.float64)
    distance = np.arange(1, length // 2 + 1)
    slope = np.sqrt(1 - distance / length) if length else np.zeros(0)
    for first, last in runs:
        before = distance[: min(first, distance.size)]
        soft[first - before] += slope[: before.size]
        after = distance[: min(soft.size - 1 - last, distance.size)]
        soft[last + after] += slope[: after.size]
    return np.minimum(soft, 1)


def _range_precision(
    scores: Scores,
    labels: Labels,
    runs: npt.NDArray[np.int64],
    order: npt.NDArray[np.int64],
    last: npt.NDArray[np.int64],
    length: int,
) -> float:
    """AP_l of the module's head, at every distinct score."""
    soft = soft_labels(labels, runs, length)
    hits = np.cumsum(soft[order])[last]
    positives = (labels.sum() + soft.sum()) / 2
    peaks = np.array([scores[first : stop + 1].max() for first, stop in label_runs(soft > 0)])
    found = (scores[order[last], None] <= peaks).mean(axis=1)
    recall = np.minimum(hits / positives, 1) * found
    return float(np.sum(np.diff(recall, prepend=0.0) * hits / (last + 1)))


def _descending(scores: Scores) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows by falling score, and in that order the last row of each group of ties."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)
    return order, last


def _checked(scores: Scores, labels: Labels) -> tuple[Scores, Labels]:
    scores, labels = np.asarray(scores), np.asarray(labels, dtype=np.bool_)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ShapeError(f"expected scores and labels of one length, found shapes {scores.shape} and {labels.shape}")
    if np.isnan(scores).any():
        row = int(np.flatnonzero(np.isnan(scores))[0])
        raise RangeError(f"expected a score for every row, found NaN at row {row}; leave such rows out first")
    return scores, labels
