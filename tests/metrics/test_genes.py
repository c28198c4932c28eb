"""Scores of genes and labels, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, matthews_corrcoef, precision_recall_fscore_support

from titans_seq.metrics.genes import class_scores, coding_track, compare_genes, precision_recall


def test_stops_starts_and_what_counts() -> None:
    annotated = [(0, 600, 1), (700, 1000, -1), (1200, 1290, 1)]
    predicted = [(30, 600, 1), (700, 1000, -1), (990, 1290, 1), (2000, 2400, 1), (3000, 3090, 1)]
    scores = compare_genes(predicted, annotated, also_right=[(1900, 2400, 1)], min_length=300)
    assert (scores.annotated, scores.predicted) == (2, 4)
    assert scores.stops == 1.0
    assert scores.exact == 0.5
    assert scores.precision == 1.0  # the short gene's stop and the other feature's count as right
    assert compare_genes(predicted, annotated, min_length=300).precision == 0.75
    assert compare_genes([], [], min_length=300).to_json()["stops"] is None


def test_classes_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 5000).astype(np.int8)
    found = np.where(random.random(5000) < 0.7, truth, random.integers(0, 3, 5000)).astype(np.int8)
    hidden = truth.copy()
    hidden[:100] = -1
    rows = class_scores(hidden, found, ("none", "a", "b"))
    precision, recall, f1, _ = precision_recall_fscore_support(truth[100:], found[100:], labels=[1, 2, 0])
    for row, number, values in zip(rows, (1, 2, 0), zip(precision, recall, f1, strict=True), strict=True):
        assert (row["precision"], row["recall"], row["f1"]) == pytest.approx(values)
        assert row["mcc"] == pytest.approx(matthews_corrcoef(truth[100:] == number, found[100:] == number))


def test_the_curve_agrees_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth = random.random(20_000) < 0.1
    p = np.clip(random.normal(0.3 + 0.3 * truth, 0.15), 0, 1)
    curve = precision_recall(truth, p, bins=4096)
    assert curve.area == pytest.approx(average_precision_score(truth, p), abs=2e-3)
    assert curve.recall[-1] == 1.0
    assert curve.prevalence == pytest.approx(0.1, abs=0.01)


def test_coding_bases_of_a_part() -> None:
    track = coding_track([(3, 6, 1), (0, 4, -1), (8, 20, 1)], 2, 10)
    assert track.tolist() == [[0, 1, 1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0, 0, 0]]
