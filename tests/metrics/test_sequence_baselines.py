"""The cheap opponents: their features by hand, and each learns what it can see and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from titans_seq.metrics.classification import classification_scores
from titans_seq.metrics.sequence_baselines import (
    BASELINES,
    Sequences,
    baseline_probabilities,
    gc_share,
    kmer_shares,
    linear_probe,
)


def pack(pieces: list[list[int]], labels: list[int]) -> Sequences:
    lengths = [len(piece) for piece in pieces]
    return Sequences(np.concatenate(pieces).astype(np.uint8), np.r_[0, np.cumsum(lengths)], np.array(labels))


def test_features_by_hand() -> None:
    data = pack([[0, 1, 0, 1, 4, 1], [2], [4, 4]], [0, 1, 0])
    assert gc_share(data) == pytest.approx([3 / 5, 1, 1 / 2])
    shares = kmer_shares(data, 2).toarray() ** 2
    assert shares.shape == (3, 16)
    assert shares[0, [1, 4]] == pytest.approx([2 / 3, 1 / 3])  # AC twice, CA once; what holds an N is left out
    assert shares[1:].sum() == 0  # nothing crosses from one sequence to the next


def planted(count: int, *, seed: int, anchored: bool) -> Sequences:
    """Class 1 holds TATAAT, at place 20 or anywhere."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 4, (count, 60))
    labels = np.arange(count) % 2
    for row in np.flatnonzero(labels):
        at = 20 if anchored else random.integers(0, 54)
        x[row, at : at + 6] = [3, 0, 3, 0, 0, 3]
    return Sequences(x.astype(np.uint8).ravel(), np.arange(0, 60 * count + 1, 60), labels)


def mcc(anchored: bool) -> dict[str, float]:
    train, dev, test = (planted(n, seed=s, anchored=anchored) for s, n in enumerate((600, 100, 300)))
    found = baseline_probabilities(train, dev, test, n_classes=2)
    assert list(found) == list(BASELINES)
    assert all(values.sum(axis=1) == pytest.approx(1) for values in found.values())
    return {name: classification_scores(test.labels, values).mcc for name, values in found.items()}


def test_each_learns_what_it_can_see() -> None:
    anchored, anywhere = mcc(True), mcc(False)
    assert anchored["one-hot LR"] > 0.95
    assert abs(anywhere["one-hot LR"]) < 0.3
    assert anywhere["k-mer LR"] > 0.5
    assert anchored["majority"] == anchored["length only"] == 0


def test_a_class_that_the_training_part_lacks_gets_nothing() -> None:
    train = pack([[0, 1] * 10, [2, 3] * 10] * 20, [0, 2] * 20)
    found = baseline_probabilities(train, train, train, n_classes=3)
    assert all((values[:, 1] == 0).all() for values in found.values())


def test_the_probe_reads_vectors() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(300, 4)), np.arange(300) % 2
    x[:, 1] += 3 * y
    values = linear_probe(x[:200], x[200:250], x[250:], labels=y[:200], dev_labels=y[200:250], n_classes=2)
    assert classification_scores(y[250:], values).accuracy > 0.85
