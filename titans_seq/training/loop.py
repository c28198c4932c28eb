"""The training loop: parallel streams, a carried memory, truncated back-propagation.

One optimiser step reads ``accumulate`` segments of every row. The memory goes from segment to segment; its gradient
does not (the state is detached at each segment's end). Rows whose stream begins are reset first. A step whose loss or
gradient is not finite is left out, and the memory then starts afresh; too many in a row end the run. The loop is
resumed by a checkpoint and then gives the same numbers as one that was never stopped.
"""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import nn

from titans_seq.config.sections import OptimiserSection, RunSection
from titans_seq.errors import InterruptedRun, TitansError
from titans_seq.ops.native.room import keep_freed_memory
from titans_seq.tasks import CarriedState, Trainable
from titans_seq.training.budget import Budget
from titans_seq.training.checkpoint import Progress, learned_tensors, load_checkpoint, save_checkpoint
from titans_seq.training.metrics_log import MetricsLog
from titans_seq.training.optimiser import build_optimiser, learning_rate, set_rate
from titans_seq.training.ranks import OwnRows, losing_ranks, same_start
from titans_seq.training.runtime import Runtime
from titans_seq.training.sharding import Step, whole, working_copy
from titans_seq.training.stopping import listening

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]
"""Told how far a stage is: ``watch(stage, done, total, note)``."""


class TrainingError(TitansError, RuntimeError):
    """Training cannot go on."""


class Streams(Protocol):
    """Endless segments of parallel streams; `titans_seq.genomics.BaseStreams` is one."""

    @property
    def epoch(self) -> int:
        """Passes over the data that are done."""

    def __next__(self) -> Any:
        """Give the next segment of every row."""

    def state_dict(self) -> dict[str, Any]:
        """Give the cursor as JSON-able numbers."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a cursor."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a training needs beside the task and its data.

    Attributes
    ----------
    folder
        The run folder, which exists.
    budget
        When to stop.
    optimiser, run
        Settings.
    watch
        Told about progress.
    command
        What a user types to go on with a run that was stopped; the folder is put behind it.
    enough
        Asked after every step; True ends the training before the budget does (a held-out score stopped falling).
    """

    folder: Path
    budget: Budget
    optimiser: OptimiserSection
    run: RunSection
    watch: Watch = lambda stage, done, total, note: None
    command: str = "titans-seq train-dna --resume --out"
    enough: Callable[[Progress], bool] = lambda progress: False


def fit(task: Trainable, streams: Streams, *, fitting: Fitting, runtime: Runtime) -> Progress:
    """Train ``task`` until the budget is spent, from the folder's checkpoint if there is one.

    Returns
    -------
    Progress
        Steps, seconds and targets in total; a last checkpoint marked ``finished`` is written.

    Raises
    ------
    InterruptedRun
        After SIGINT or SIGTERM, with everything saved.
    TrainingError
        When too many steps in a row were not finite.
    """
    keep_freed_memory()
    ranks = runtime.ranks
    if ranks.world > 1:
        streams = OwnRows(streams, rank=ranks.rank, world=ranks.world)
    loop = _Loop(task, streams, fitting=fitting, runtime=runtime)
    loop.restore()
    try:
        with listening() as stop:
            while not loop.spent():
                with losing_ranks():
                    loop.step()
                if fitting.enough(loop.progress):
                    break
                if any(ranks.total(float(bool(stop)))):
                    loop.save()
                    raise InterruptedRun(
                        f"stopped by {stop.signal.name if stop.signal else 'request'} after step "
                        f"{loop.progress.step}; continue with: {fitting.command} {fitting.folder}"
                    )
            loop.finish()
            loop.hand_back(task)
    finally:
        loop.close()
    return loop.progress


class _Loop:
    """The moving parts of `fit`: the state that is carried, the counters, the clock."""

    def __init__(self, task: Trainable, streams: Streams, *, fitting: Fitting, runtime: Runtime) -> None:
        self.sharded = fitting.run.sharding == "full" and runtime.ranks.world > 1
        self.task = working_copy(task) if self.sharded else task
        self.module = cast(nn.Module, self.task).to(runtime.device)
        self.one_segment = Step(self.task)
        self.streams = streams
        self.fitting = fitting
        self.runtime = runtime
        self.ranks = runtime.ranks
        same_start(self.module, self.ranks)
        self.optimiser = build_optimiser(self.module, fitting.optimiser)
        self.progress = Progress()
        self.state: CarriedState | None = None
        self._clock = time.monotonic()
        self._saved_at = (0, 0.0)
        self._metrics: MetricsLog | None = None
        self._last_score = float("nan")

    def restore(self) -> None:
        """Go to where the folder's checkpoint stands; to the beginning where there is none."""
        found = load_checkpoint(self.fitting.folder / "checkpoint", module=self.module, optimiser=self.optimiser)
        if found is not None:
            self.progress = found.progress
            self.streams.load_state_dict(found.streams)
            if found.state is not None:
                own = self.ranks.own_rows(found.state, rows=self.progress.rows // self.ranks.world)
                tensors = {name: value.to(self.runtime.device) for name, value in own.items()}
                self.state = self.task.load_state(tensors)
            _log.info("resumed at step %d", self.progress.step)
        if self.sharded:
            self.optimiser = self.one_segment.share_out(self.optimiser, self.fitting.optimiser, self.ranks)
        self._saved_at = (self.progress.step, self.progress.seconds)
        if self.ranks.writes:
            self._metrics = MetricsLog(self.fitting.folder, units=self.task.units, resume_step=self.progress.step)
        self._clock = time.monotonic()

    def spent(self) -> bool:
        """Tell whether the budget is used up, or the training was found to be enough."""
        return self.progress.finished or self.fitting.budget.spent(
            step=self.progress.step, seconds=self.progress.seconds
        )

    def step(self) -> None:
        """Take one optimiser step, with its row of the metrics and its checkpoint when they are due."""
        self.module.train()
        share = self.fitting.budget.progress(step=self.progress.step, seconds=self.progress.seconds)
        rate = learning_rate(self.fitting.optimiser, step=self.progress.step, progress=share)
        set_rate(self.optimiser, rate)
        self.optimiser.zero_grad(set_to_none=True)
        cost, targets = 0.0, 0
        for _ in range(self.fitting.optimiser.accumulate):
            more, count = self._segment()
            cost, targets = cost + more, targets + count
        if self.sharded:
            self.one_segment.leave_unused(self.ranks)
        else:
            self.ranks.sum_gradients(self.module)
        norm = float(whole(torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.fitting.optimiser.clip)))
        if isfinite(norm) and isfinite(cost):
            self.optimiser.step()
            self.progress.skipped_in_row = 0
            self._count(cost=cost, targets=targets, norm=norm)
        else:
            self._skip(cost=cost, norm=norm)
        self.progress.step += 1
        now = time.monotonic()
        self.progress.seconds += now - self._clock
        (self.progress.seconds,) = self.ranks.total(self.progress.seconds if self.ranks.writes else 0.0)
        self._clock = now
        if self.progress.step % self.fitting.run.log_steps == 0:
            self._report(rate)
        self._watch()
        if self._checkpoint_due():
            self.save()

    def _segment(self) -> tuple[float, int]:
        """Read one segment of every row and add its gradient; give its cost and its targets, those of all ranks."""
        segment = next(self.streams)
        self.progress.rows = segment.reset.shape[0] * self.ranks.world
        with self.runtime.fabric.autocast():
            total, count, state = self.one_segment(segment, self.state, self.runtime.device)
        self.state = state.detach()
        cost, targets = self.ranks.total(float(total.detach()), count)
        self.runtime.fabric.backward(total / (max(int(targets), 1) * self.fitting.optimiser.accumulate))
        return cost, int(targets)

    def _count(self, *, cost: float, targets: int, norm: float) -> None:
        self.progress.targets += targets
        window = self.progress.window
        for name, value in (("cost", cost), ("targets", targets), ("steps", 1), ("norm", norm)):
            window[name] = window.get(name, 0.0) + value

    def _skip(self, *, cost: float, norm: float) -> None:
        self.progress.skipped += 1
        self.progress.skipped_in_row += 1
        self.state = None
        _log.warning("step %d left out: loss %s, gradient norm %s", self.progress.step, cost, norm)
        limit = self.fitting.optimiser.skip_limit
        if self.progress.skipped_in_row >= limit:
            raise TrainingError(
                f"{limit} steps in a row were not finite (the last at step {self.progress.step}); "
                "try a smaller optimiser.learning_rate, or run.precision=float32"
            )

    def _report(self, rate: float) -> None:
        window, units = self.progress.window, self.task.units
        now, since = self.progress.seconds, window.get("since", 0.0)
        row = {
            "step": self.progress.step,
            "epoch": self.streams.epoch,
            units.targets: self.progress.targets,
            units.score: self._score(),
            "learning_rate": rate,
            "gradient_norm": window.get("norm", 0.0) / max(window.get("steps", 0.0), 1.0),
            "skipped": self.progress.skipped,
            "seconds": round(now, 3),
            f"{units.targets}_per_second": round(window.get("targets", 0.0) / max(now - since, 1e-9), 1),
            "peak_ram_mb": round(peak_ram_mb(), 1),
        }
        self._last_score = self._score()
        self.progress.window = {"since": now}
        if self._metrics is not None:
            self._metrics.add(row)

    def _score(self) -> float:
        window = self.progress.window
        return window["cost"] / window["targets"] * self.task.units.scale if window.get("targets") else float("nan")

    def _watch(self) -> None:
        done = self.fitting.budget.progress(step=self.progress.step, seconds=self.progress.seconds)
        speed = self.progress.targets / max(self.progress.seconds, 1e-9)
        score = self._score() if self.progress.window.get("targets") else self._last_score
        units = self.task.units
        note = f"step {self.progress.step}, {score:.3f} {units.short}, {speed:,.0f} {units.targets}/s"
        self.fitting.watch("training", done, 1.0, note)

    def _checkpoint_due(self) -> bool:
        step, seconds = self._saved_at
        late = self.progress.seconds - seconds >= self.fitting.run.checkpoint_minutes * 60
        return late or self.progress.step - step >= self.fitting.run.checkpoint_steps

    def save(self) -> None:
        """Write a checkpoint of everything, the state of every rank in it."""
        state = None
        if self.state is not None:
            state = self.ranks.gather_rows(self.state.tensors(), rows=self.progress.rows // self.ranks.world)
        learned = learned_tensors(self.module, self.optimiser, keep=self.ranks.writes)
        if self.ranks.writes:
            save_checkpoint(
                self.fitting.folder / "checkpoint",
                progress=self.progress,
                learned=learned,
                streams=self.streams.state_dict(),
                state=state,
            )
        self._saved_at = (self.progress.step, self.progress.seconds)

    def finish(self) -> None:
        """Write the last checkpoint; training again from it is nothing to do."""
        if not self.progress.finished:
            self.progress.finished = True
            self.save()

    def hand_back(self, task: Trainable) -> None:
        """Give the caller's task what was learned in its place."""
        if self.sharded:
            learned = {name: whole(value) for name, value in self.module.state_dict().items()}
            cast(nn.Module, task).to(self.runtime.device).load_state_dict(learned)

    def close(self) -> None:
        """Close what is open."""
        if self._metrics is not None:
            self._metrics.close()


def peak_ram_mb() -> float:
    """Give the most memory this process has held so far, in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage counts on Linux begins with the peak of the process that started this one.
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
