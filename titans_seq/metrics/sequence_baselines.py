"""The cheap opponents of a sequence classifier: majority, length, GC, k-mer and one-hot logistic regression.

Each sees the training part only. What has a setting (strength of the regularisation, length of the k-mers) chooses
it on the dev part, as the model does. Sequences come as tokens laid end to end (uint8, 4 for N) with their offsets.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse  # type: ignore[import-untyped]
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import MaxAbsScaler
from sklearn.tree import DecisionTreeClassifier

Probabilities = NDArray[np.float64]
BASELINES = ("majority", "length only", "GC only", "k-mer LR", "one-hot LR")
KMERS = (4, 5, 6)
STRENGTHS = (0.03, 0.3, 3.0)
"""Values of C tried, times 1; larger regularises less."""


@dataclass(frozen=True)
class Sequences:
    """Tokens of N sequences end to end, offsets int64 [N + 1], labels int64 [N]."""

    tokens: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bases of each sequence."""
        return np.diff(self.offsets)


def baseline_probabilities(
    train: Sequences,
    dev: Sequences,
    test: Sequences,
    *,
    n_classes: int,
    names: Sequence[str] = BASELINES,
) -> dict[str, Probabilities]:
    """Fit each baseline and predict the test part.

    Returns
    -------
    dict
        By name, probabilities [N, n_classes].
    """
    made: dict[str, Callable[[], Probabilities]] = {
        "majority": lambda: _majority(train.labels, len(test.labels), n_classes),
        "length only": lambda: _tree([part.lengths[:, None] for part in (train, test)], train.labels, n_classes),
        "GC only": lambda: _tree([gc_share(part)[:, None] for part in (train, test)], train.labels, n_classes),
        "k-mer LR": lambda: _chosen(
            [tuple(kmer_shares(part, k) for part in (train, dev, test)) for k in KMERS],
            train.labels, dev.labels, n_classes,
        ),
        "one-hot LR": lambda: _chosen([_columns(train, dev, test)], train.labels, dev.labels, n_classes),
    }  # fmt: skip
    return {name: made[name]() for name in names}


def gc_share(data: Sequences) -> NDArray[np.float64]:
    """Share of G and C among the known bases of each sequence; 1/2 where none is known."""
    gc = _sums((data.tokens == 1) | (data.tokens == 2), data.offsets)
    known = _sums(data.tokens < 4, data.offsets)
    return np.where(known > 0, gc / np.maximum(known, 1), 0.5)


def kmer_shares(data: Sequences, k: int) -> sparse.csr_array:
    """Square roots of the share of each k-mer in each sequence, [N, 4^k]; k-mers with an N are left out.

    The root brings rare and frequent k-mers to one scale (it is the Hellinger map of the shares).
    """
    number = np.zeros(len(data.tokens), dtype=np.int64)
    known = np.ones(len(data.tokens), dtype=np.bool_)
    for shift in range(k):
        step = np.full(len(data.tokens), 4, dtype=np.int64)
        step[: len(step) - shift] = data.tokens[shift:]
        number = number * 4 + np.minimum(step, 3)
        known &= step < 4
    row = np.repeat(np.arange(len(data.labels)), data.lengths)
    place = np.arange(len(data.tokens)) - data.offsets[row]
    known &= place + k <= data.lengths[row]
    pairs = (np.ones(int(known.sum())), (row[known], number[known]))
    counts = sparse.coo_array(pairs, shape=(len(data.labels), 4**k)).tocsr()
    counts.sum_duplicates()
    total = np.maximum(np.diff(counts.indptr), 0)
    sums = np.maximum(counts.sum(axis=1), 1.0)
    counts.data = np.sqrt(counts.data / np.repeat(sums, total))
    return counts


def _columns(*parts: Sequences) -> tuple[sparse.csr_array, ...]:
    """One column for each base at each position, from the first base on; as wide as the longest training sequence."""
    width = int(parts[0].lengths.max())
    return tuple(_one_hot(part, width) for part in parts)


def _one_hot(data: Sequences, width: int) -> sparse.csr_array:
    row = np.repeat(np.arange(len(data.labels)), data.lengths)
    place = np.arange(len(data.tokens)) - data.offsets[row]
    kept = (data.tokens < 4) & (place < width)
    pairs = (np.ones(int(kept.sum())), (row[kept], place[kept] * 4 + data.tokens[kept]))
    return sparse.coo_array(pairs, shape=(len(data.labels), 4 * width)).tocsr()


def _chosen(
    inputs: list[Any], labels: NDArray[np.int64], dev_labels: NDArray[np.int64], n_classes: int
) -> Probabilities:
    """Fit logistic regression for every input and strength; predict with the one that costs least on the dev part."""
    found: list[tuple[float, Probabilities]] = []
    for x_train, x_dev, x_test in inputs:
        scale = MaxAbsScaler().fit(x_train)
        x_train, x_dev, x_test = (scale.transform(x) for x in (x_train, x_dev, x_test))
        for strength in STRENGTHS:
            # C counts against the sum over sequences, the columns against their number.
            model = LogisticRegression(C=strength * 10 / np.sqrt(x_train.shape[1]), max_iter=200, tol=1e-3)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(x_train, labels)
            dev_cost = log_loss(dev_labels, _all(model, x_dev, n_classes), labels=range(n_classes))
            found.append((dev_cost, _all(model, x_test, n_classes)))
    return min(found, key=lambda pair: pair[0])[1]


def linear_probe(
    train: NDArray[np.float64], dev: NDArray[np.float64], test: NDArray[np.float64], *, labels: NDArray[np.int64],
    dev_labels: NDArray[np.int64], n_classes: int,
) -> Probabilities:  # fmt: skip
    """Predict the test part by logistic regression on vectors, [N, width] each; the strength is chosen on dev."""
    return _chosen([(train, dev, test)], labels, dev_labels, n_classes)


def _majority(labels: NDArray[np.int64], rows: int, n_classes: int) -> Probabilities:
    """The shares of the classes in the training part, for every sequence."""
    return np.tile(np.bincount(labels, minlength=n_classes) / len(labels), (rows, 1))


def _tree(inputs: list[NDArray[Any]], labels: NDArray[np.int64], n_classes: int) -> Probabilities:
    """Cut one number into at most 16 ranges: finds a class that sits at certain values, which a line would miss."""
    least = max(5, len(labels) // 200)
    model = DecisionTreeClassifier(max_leaf_nodes=16, min_samples_leaf=least, random_state=0)
    model.fit(inputs[0], labels)
    return _all(model, inputs[1], n_classes)


def _all(model: Any, x: Any, n_classes: int) -> Probabilities:
    """Probabilities of all classes, those that the training part lacks included."""
    found = np.zeros((x.shape[0], n_classes))
    found[:, model.classes_] = model.predict_proba(x)
    return found


def _sums(values: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    total = np.concatenate([[0], np.cumsum(values)])
    return (total[offsets[1:]] - total[offsets[:-1]]).astype(np.int64)
