"""Scores of a classification, from labels and probabilities.

With two classes, the class at ``positive`` is the one that AUROC, AUPRC and prevalence speak of; with more they are
averages over the classes, each against the rest. AUPRC of a useless classifier is the prevalence, so the two stand
together.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    f1_score,
    matthews_corrcoef,
    precision_recall_curve,
    roc_auc_score,
)

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]

SCORES = ("accuracy", "mcc", "macro_f1", "auroc", "auprc")
"""In the order of a table; all of them are better when higher."""


@dataclass(frozen=True, slots=True)
class ClassificationScores:
    """Scores of one set of predictions.

    Attributes
    ----------
    accuracy, mcc, macro_f1
        Of the most probable class.
    auroc, auprc
        Of the probabilities; NaN where a class has no sequence.
    prevalence
        Share of the positive class; with more than two classes, the mean share.
    nats
        Mean cost of the true class.
    """

    accuracy: float
    mcc: float
    macro_f1: float
    auroc: float
    auprc: float
    prevalence: float
    nats: float

    def record(self) -> dict[str, float | None]:
        """Give the scores for JSON: NaN becomes null."""
        return {name: value if np.isfinite(value) else None for name, value in asdict(self).items()}


def classification_scores(
    labels: Labels, probabilities: Probabilities, *, positive: int | None = None
) -> ClassificationScores:
    """Score predictions.

    Parameters
    ----------
    labels
        True classes, int64 [N].
    probabilities
        [N, C].
    positive
        With two classes the one that is looked for; by default the last.
    """
    classes = probabilities.shape[1]
    named = classes - 1 if positive is None else positive
    predicted = probabilities.argmax(axis=1)
    chosen = [named] if classes == 2 else list(range(classes))
    true = labels[:, None] == np.arange(classes)
    shares = true[:, chosen].mean(axis=0)
    both = bool(((shares > 0) & (shares < 1)).all())
    cost = -np.log(np.clip(probabilities[np.arange(len(labels)), labels], 1e-12, 1.0))
    with warnings.catch_warnings():
        # A part without one of the classes has no recall for it; the zero is what is meant.
        warnings.simplefilter("ignore")
        f1 = f1_score(labels, predicted, labels=range(classes), average="macro", zero_division=0.0)
        mcc = matthews_corrcoef(labels, predicted)
    return ClassificationScores(
        accuracy=float((predicted == labels).mean()),
        mcc=float(mcc),
        macro_f1=float(f1),
        auroc=_mean(roc_auc_score, true, probabilities, chosen) if both else float("nan"),
        auprc=_mean(average_precision_score, true, probabilities, chosen) if both else float("nan"),
        prevalence=float(shares.mean()),
        nats=float(cost.mean()),
    )


def confusion(labels: Labels, probabilities: Probabilities) -> NDArray[np.int64]:
    """Count true class (rows) against most probable class (columns), int64 [C, C]."""
    classes = range(probabilities.shape[1])
    counts: NDArray[np.int64] = confusion_matrix(labels, probabilities.argmax(axis=1), labels=classes)
    return counts


def precision_recall(
    labels: Labels, probabilities: Probabilities, *, label: int
) -> tuple[Probabilities, Probabilities]:
    """Give recall and precision of one class against the rest, from the strictest threshold to the mildest."""
    precision, recall, _ = precision_recall_curve(labels == label, probabilities[:, label])
    return recall[::-1], precision[::-1]


def _mean(
    score: Callable[..., float], true: NDArray[np.bool_], probabilities: Probabilities, chosen: list[int]
) -> float:
    return float(np.mean([score(true[:, index], probabilities[:, index]) for index in chosen]))
