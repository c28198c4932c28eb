"""Scores of a classification, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from titans_seq.metrics.classification import classification_scores, confusion, precision_recall

LABELS = np.array([0, 0, 0, 1, 1])
CHANCES = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.7, 0.3]])


def test_two_classes_by_hand() -> None:
    scores = classification_scores(LABELS, CHANCES)
    assert confusion(LABELS, CHANCES).tolist() == [[2, 1], [1, 1]]
    assert scores.accuracy == pytest.approx(3 / 5)
    assert scores.mcc == pytest.approx((2 * 1 - 1 * 1) / (3 * 2 * 3 * 2) ** 0.5)
    assert scores.macro_f1 == pytest.approx((2 * 2 / 6 + 2 * 1 / 4) / 2)
    # Of the six pairs of a 1 and a 0, the 0.8 wins three, the 0.3 wins one.
    assert scores.auroc == pytest.approx(4 / 6)
    # By falling probability: 0.8 (1), 0.7 (0), 0.4 (0), 0.3 (1): precision 1 at recall 1/2, 2/4 at recall 1.
    assert scores.auprc == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    assert scores.prevalence == pytest.approx(2 / 5)
    assert scores.nats == pytest.approx(-np.log([0.9, 0.6, 0.3, 0.8, 0.3]).mean())


def test_the_other_class_may_be_the_positive_one() -> None:
    scores = classification_scores(LABELS, CHANCES, positive=0)
    assert (scores.prevalence, scores.auroc) == (pytest.approx(3 / 5), pytest.approx(4 / 6))


def test_three_classes_are_averaged() -> None:
    labels = np.array([0, 1, 2, 2])
    perfect = classification_scores(labels, np.eye(3)[labels])
    assert (perfect.accuracy, perfect.mcc, perfect.auroc, perfect.auprc) == (1, 1, 1, 1)
    assert perfect.prevalence == pytest.approx(1 / 3)
    one = classification_scores(labels, np.tile([0.2, 0.2, 0.6], (4, 1)))
    assert (one.accuracy, one.mcc, one.auroc) == (0.5, 0, 0.5)


def test_a_class_that_is_missing_gives_null_and_no_warning() -> None:
    record = classification_scores(np.zeros(3, dtype=int), np.tile([0.6, 0.4], (3, 1))).record()
    assert (record["accuracy"], record["mcc"], record["auroc"], record["auprc"]) == (1, 0, None, None)


def test_the_curve_runs_from_the_strictest_threshold() -> None:
    recall, precision = precision_recall(LABELS, CHANCES, label=1)
    assert (recall[0], precision[0], recall[-1]) == (0, 1, 1)
    assert (np.diff(recall) >= 0).all()
