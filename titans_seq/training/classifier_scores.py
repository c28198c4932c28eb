"""Score a classifier and everything it must be compared with, on one test part, in one table.

What the memory's arms mean here: sequences are independent of each other, so *carried* is a memory carried over the
tokens of one sequence, *reset* one that begins anew every ``evaluation.window`` tokens, *off* the same weights with
reads of zero. *random weights* is the same network untrained, with a logistic regression on what it pools.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from titans_seq.genomics.labelled import LabelledSequences
from titans_seq.genomics.labelled_batches import make_batch
from titans_seq.metrics.classification import SCORES, classification_scores
from titans_seq.metrics.sequence_baselines import Sequences, baseline_probabilities, linear_probe
from titans_seq.tasks.build_classifier import build_classifier
from titans_seq.tasks.classify import MEMORY_ARMS, SequenceClassifier
from titans_seq.tasks.small_cnn import SmallCnn
from titans_seq.training.classifier_fit import Probabilities, predict
from titans_seq.training.classifier_job import ClassifierJob
from titans_seq.training.runtime import Runtime

Watch = Callable[[str, float, float, str], None]
CHEAP, NETWORKS, OWN = "cheap", "networks", "titans-seq"
RANDOM, CNN, TOGETHER = "random weights", "small CNN", "members together"
NOTES = {
    CNN: "two convolutions, trained on the same data",
    RANDOM: "the same network untrained, with a logistic regression on what it pools",
    "carried": "memory carried over the tokens of one sequence",
    "reset": "memory begun anew every {window} tokens",
    "off": "reads of the memory are zero",
    "no memory": "an encoder without a memory",
    TOGETHER: "mean of the probabilities of all members",
}

Predictions = dict[str, list[Probabilities]]
"""By row name, the probabilities [N, C] of every seed."""


def plain(data: LabelledSequences) -> Sequences:
    """Give the arrays that the metrics read."""
    return Sequences(data.tokens, data.offsets, data.labels)


def predict_all(
    job: ClassifierJob,
    members: Sequence[SequenceClassifier],
    cnns: Sequence[SmallCnn],
    *,
    runtime: Runtime,
    watch: Watch,
) -> Predictions:
    """Predict the test part by every row of the table."""
    settings, parts = job.config.evaluation, job.parts
    cheap = baseline_probabilities(
        plain(parts.train), plain(parts.dev), plain(parts.test),
        n_classes=len(parts.classes), names=settings.baselines,
    )  # fmt: skip
    watch("scoring", 1, 4, "baselines")
    found: Predictions = {name: [values] for name, values in cheap.items()}
    look = partial(predict, data=parts.test, rows=settings.rows, device=runtime.device)
    if cnns:
        found[CNN] = [look(cnn) for cnn in cnns]
    found[RANDOM] = [random_weights(job, seed=job.config.run.seed + n, runtime=runtime) for n in range(len(members))]
    watch("scoring", 2, 4, "random weights")
    arms = memory_arms(job)
    for arm in arms:
        name = arm if len(arms) > 1 else "no memory"
        found[name] = [look(task, arm=arm, window=settings.window) for task in members]
    watch("scoring", 4, 4, "arms")
    if len(members) > 1:
        found[TOGETHER] = [np.mean(found["carried" if len(arms) > 1 else "no memory"], axis=0)]
    return found


def memory_arms(job: ClassifierJob) -> tuple[str, ...]:
    """Name the arms that differ: no reset where a sequence ends before the first one, none without a memory."""
    if job.config.model.memory_label == "none":
        return ("carried",)
    around = job.config.classifier
    longest = -(-int(job.parts.test.lengths.max()) // (around.stride if around.front == "conv" else 1))
    return tuple(arm for arm in MEMORY_ARMS if arm != "reset" or longest > job.config.evaluation.window)


def random_weights(job: ClassifierJob, *, seed: int, runtime: Runtime) -> Probabilities:
    """Predict the test part from what the untrained network pools."""
    torch.manual_seed(seed)
    task = build_classifier(job.config, n_classes=len(job.parts.classes)).to(runtime.device).eval()
    parts = job.parts
    vectors = [_vectors(task, part, rows=job.config.evaluation.rows) for part in (parts.train, parts.dev, parts.test)]
    return linear_probe(
        vectors[0], vectors[1], vectors[2], labels=parts.train.labels, dev_labels=parts.dev.labels,
        n_classes=len(parts.classes),
    )  # fmt: skip


@torch.no_grad()
def _vectors(task: SequenceClassifier, data: LabelledSequences, *, rows: int) -> NDArray[np.float64]:
    order = np.argsort(data.lengths, kind="stable")
    device = next(task.parameters()).device
    found: NDArray[np.float64] | None = None
    for part in np.split(order, range(rows, len(order), rows)):
        batch = make_batch(data, part)
        tokens, lengths = torch.as_tensor(batch.tokens).long().to(device), torch.as_tensor(batch.lengths).to(device)
        values = task.features(tokens, lengths).double().cpu().numpy()
        found = np.empty((len(data), values.shape[1]), dtype=np.float64) if found is None else found
        found[part] = values
    assert found is not None
    return found


def table_rows(
    predictions: Predictions, labels: NDArray[np.int64], *, window: int, memory: str
) -> list[dict[str, Any]]:
    """Score every row: the mean over its seeds, and their standard deviation (null for one seed)."""
    rows = []
    for name, seeds in predictions.items():
        scores = [classification_scores(labels, values).record() for values in seeds]
        own = name in NOTES and name not in (CNN, RANDOM)
        rows.append(
            {
                "name": name,
                "group": OWN if own else NETWORKS if name in NOTES else CHEAP,
                "label": f"{memory}, {name}" if own else name,
                "note": NOTES.get(name, "").format(window=window),
                "seeds": len(seeds),
                "scores": {key: _mean([score[key] for score in scores]) for key in (*SCORES, "nats")},
                "spread": {key: _spread([score[key] for score in scores]) for key in (*SCORES, "nats")},
            }
        )
    return rows


def memory_gains(predictions: Predictions, labels: NDArray[np.int64]) -> dict[str, dict[str, float]]:
    """Say what the carried memory saves against each other arm, in nats per sequence, with the standard error.

    Costs are averaged over the members first; the error is over sequences.
    """
    if "carried" not in predictions:
        return {}
    cost = {
        arm: np.mean([-np.log(np.clip(p[np.arange(len(labels)), labels], 1e-12, 1)) for p in predictions[arm]], axis=0)
        for arm in MEMORY_ARMS
        if arm in predictions
    }
    saved = {arm: cost[arm] - cost["carried"] for arm in cost if arm != "carried"}
    return {
        arm: {"gain": float(values.mean()), "error": float(values.std() / np.sqrt(len(values)))}
        for arm, values in saved.items()
    }


def best_row(rows: Sequence[Mapping[str, Any]], group: str) -> Mapping[str, Any] | None:
    """Give the row of a group with the highest MCC."""
    return max((row for row in rows if row["group"] == group), key=lambda row: row["scores"]["mcc"], default=None)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _spread(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.std(known, ddof=1)) if len(known) > 1 else None
