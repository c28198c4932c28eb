"""Train the members of a classifier, each with the one loop, keeping the weights that cost least on the dev part.

A member's folder ``RUN/member-N`` holds the loop's checkpoint and metrics and ``best.safetensors``. The dev part is
scored once in every pass; what early stopping remembers lies in that file alone, so a run that is killed and resumed
chooses the same weights.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from titans_seq.config.sections import OptimiserSection
from titans_seq.errors import InterruptedRun
from titans_seq.genomics.labelled import LabelledSequences
from titans_seq.genomics.labelled_batches import LabelledBatches, make_batch
from titans_seq.tasks import Trainable
from titans_seq.tasks.build_classifier import build_classifier
from titans_seq.tasks.classify import SequenceClassifier
from titans_seq.tasks.small_cnn import SmallCnn
from titans_seq.tensor_files import load_tensors, load_weights, read_metadata, save_tensors
from titans_seq.training.budget import Budget, plan_budget
from titans_seq.training.checkpoint import Progress
from titans_seq.training.classifier_job import ClassifierJob
from titans_seq.training.loop import Fitting, fit
from titans_seq.training.ranks import Ranks
from titans_seq.training.run_folder import removed_if_barren
from titans_seq.training.runtime import Runtime

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]
Probabilities = NDArray[np.float64]
BEST = "best.safetensors"
COMMAND = "titans-seq train-classifier --resume --out"
_MOST_BASES = 1 << 18
"""Bases read in one call, so that a few long sequences do not take more memory than many short ones."""


def predict(task: Any, data: LabelledSequences, *, rows: int, device: torch.device, **options: Any) -> Probabilities:
    """Predict every sequence, [N, C] float64, those of like length side by side.

    Parameters
    ----------
    task
        With ``probabilities(tokens, lengths, **options)``.
    rows
        Most sequences of a call.
    """
    order = np.argsort(data.lengths, kind="stable")
    found: Probabilities | None = None
    start = 0
    while start < len(order):
        # Lengths ascend, so the last of a call is its longest.
        stop = min(start + rows, len(order))
        while stop - start > 1 and (stop - start) * int(data.lengths[order[stop - 1]]) > _MOST_BASES:
            stop = start + (stop - start + 1) // 2
        batch = make_batch(data, order[start:stop])
        tokens, lengths = (torch.as_tensor(array).to(device) for array in (batch.tokens, batch.lengths))
        values = task.probabilities(tokens, lengths, **options).double().cpu().numpy()
        found = np.empty((len(data), values.shape[1])) if found is None else found
        found[order[start:stop]] = values
        start = stop
    assert found is not None
    return found


def nats(labels: NDArray[np.int64], probabilities: Probabilities) -> float:
    """Mean cost of the true class."""
    return float(-np.log(np.clip(probabilities[np.arange(len(labels)), labels], 1e-12, 1.0)).mean())


class DevWatch:
    """Asked after every step: scores the dev part at the end of a pass, keeps the best weights, says when it is enough.

    Parameters
    ----------
    pass_steps
        Optimiser steps of a pass over the training part.
    patience
        Passes without a lower cost after which it is enough; None is never.
    ranks
        The processes of the job: the first scores and writes, and all do as it says.
    """

    def __init__(
        self,
        task: nn.Module,
        dev: LabelledSequences,
        *,
        folder: Path,
        pass_steps: int,
        patience: int | None,
        rows: int,
        device: torch.device,
        ranks: Ranks | None = None,
    ) -> None:
        self._task, self._dev, self._path, self._ranks = task, dev, folder / BEST, ranks
        self._pass_steps, self._patience = pass_steps, patience
        self._rows, self._device = rows, device

    def __call__(self, progress: Progress) -> bool:
        """Score at the end of a pass; see the class."""
        return not progress.step % self._pass_steps and self._agreed(lambda: self._scored(progress))

    def _agreed(self, question: Callable[[], bool]) -> bool:
        """Ask the first process; the others wait for its answer."""
        if self._ranks is None:
            return question()
        return any(self._ranks.total(float(self._ranks.writes and question())))

    def _scored(self, progress: Progress) -> bool:
        """Score, keep the weights if they are better, and tell whether it is enough."""
        cost = nats(self._dev.labels, predict(self._task, self._dev, rows=self._rows, device=self._device))
        best, at = self.best()
        _log.info(
            "pass %d: %.4f nats on the dev part (best %.4f)", progress.step // self._pass_steps, cost, min(cost, best)
        )
        if cost < best:
            words = {"nats": repr(cost), "step": str(progress.step)}
            save_tensors(self._path, self._task.state_dict(), metadata=words)
            at = progress.step
        return self._patience is not None and progress.step - at >= self._patience * self._pass_steps

    def best(self) -> tuple[float, int]:
        """Give the lowest cost so far and the step it was reached at."""
        if not self._path.exists():
            return float("inf"), 0
        words = read_metadata(self._path)
        return float(words["nats"]), int(words["step"])

    def restore(self, progress: Progress) -> None:
        """Put the best weights back; a training shorter than a pass keeps its last."""
        if not self._agreed(self._path.exists):
            self(Progress(step=0))
            return
        load_weights(self._task, load_tensors(self._path), where=self._path)


def fit_members(
    job: ClassifierJob, *, runtime: Runtime, watch: Watch
) -> tuple[list[SequenceClassifier], list[Progress]]:
    """Train one classifier for each seed."""
    members, progresses = [], []
    for number in range(job.config.classifier.members):
        seed = job.config.run.seed + number
        torch.manual_seed(seed)
        task = build_classifier(job.config, n_classes=len(job.parts.classes), pretrained=job.pretrained)
        batches = LabelledBatches(job.parts.train, size=job.config.batches.size, seed=seed)
        budget = plan_budget(
            job.config.budget,
            segments_per_epoch=batches.batches_per_epoch,
            accumulate=job.config.optimiser.accumulate,
        )
        progress = fit_one(
            job, task, batches, name=f"member-{number}", budget=budget, optimiser=job.config.optimiser, runtime=runtime,
            watch=_named(watch, f"member {number + 1}"),
        )  # fmt: skip
        members.append(task)
        progresses.append(progress)
    return members, progresses


def fit_cnns(job: ClassifierJob, *, runtime: Runtime, watch: Watch) -> list[SmallCnn]:
    """Train the small CNN as often as there are members."""
    cnns = []
    settings = OptimiserSection(learning_rate=2e-3, weight_decay=0.01, warmup=20, final_share=0.02)
    for number in range(job.config.classifier.members if job.config.evaluation.cnn_epochs else 0):
        seed = job.config.run.seed + number
        torch.manual_seed(seed)
        task = SmallCnn(n_classes=len(job.parts.classes))
        batches = LabelledBatches(job.parts.train, size=job.config.batches.size, seed=seed)
        budget = Budget(steps=job.config.evaluation.cnn_epochs * batches.batches_per_epoch, seconds=None)
        fit_one(
            job, task, batches, name=f"small-cnn-{number}", budget=budget, optimiser=settings, runtime=runtime,
            watch=_named(watch, f"small CNN {number + 1}"),
        )  # fmt: skip
        cnns.append(task)
    return cnns


def _named(watch: Watch, stage: str) -> Watch:
    return lambda _, done, total, note: watch(stage, done, total, note)


def fit_one(
    job: ClassifierJob,
    task: Trainable,
    batches: LabelledBatches,
    *,
    name: str,
    budget: Budget,
    optimiser: OptimiserSection,
    runtime: Runtime,
    watch: Watch,
) -> Progress:
    """Train ``task`` in ``RUN/name`` and give it its best weights."""
    folder = job.out / name
    folder.mkdir(parents=True, exist_ok=True)
    module = cast(nn.Module, task)
    dev = DevWatch(
        module, job.parts.dev, folder=folder,
        pass_steps=max(1, batches.batches_per_epoch // optimiser.accumulate),
        patience=job.config.batches.patience, rows=job.config.evaluation.rows, device=runtime.device,
        ranks=runtime.ranks,
    )  # fmt: skip
    fitting = Fitting(
        folder=folder, budget=budget, optimiser=optimiser, run=job.config.run, watch=watch, command=COMMAND, enough=dev
    )
    try:
        with nullcontext() if job.resume or not runtime.ranks.writes else removed_if_barren(job.out):
            progress = fit(task, batches, fitting=fitting, runtime=runtime)
    except InterruptedRun as stop:
        # The loop names its own folder, but it is the run's that a user goes on with.
        raise InterruptedRun(str(stop).replace(str(folder), str(job.out))) from None
    dev.restore(progress)
    module.eval()
    return progress
