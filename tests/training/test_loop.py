"""The loop learns, stops politely, survives a kill, and repeats itself number for number."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from titans_seq.config.sections import BudgetSection, OptimiserSection, RunSection
from titans_seq.errors import InterruptedRun, StateMismatchError
from titans_seq.tasks import NextBase
from titans_seq.training.budget import plan_budget
from titans_seq.training.checkpoint import Progress
from titans_seq.training.loop import Fitting, TrainingError, fit
from titans_seq.training.metrics_log import REPEATABLE
from titans_seq.training.runtime import choose_runtime

Make = Callable[..., Any]


@pytest.fixture
def run(make_task: Make, make_streams: Make) -> Callable[..., tuple[NextBase, Progress]]:
    """Train the stand-in for some steps in a folder, from its checkpoint if there is one."""

    def train(folder: Path, *, steps: int = 12, streams: Any = None, **keys: Any) -> tuple[NextBase, Progress]:
        folder.mkdir(exist_ok=True)
        task = keys.pop("task", None) or make_task()
        settings = RunSection(log_steps=3, checkpoint_steps=keys.pop("checkpoint_steps", 4), device="cpu")
        fitting = Fitting(
            folder=folder,
            budget=plan_budget(BudgetSection(steps=steps), segments_per_epoch=10, accumulate=1),
            optimiser=OptimiserSection(warmup=2, learning_rate=0.02, **keys),
            run=settings,
        )
        progress = fit(task, streams or make_streams(), fitting=fitting, runtime=choose_runtime(settings))
        return task, progress

    return train


def rows(folder: Path) -> list[tuple[str, ...]]:
    with (folder / "metrics.csv").open() as file:
        return [tuple(row)[:REPEATABLE] for row in csv.reader(file)][1:]


def assert_same(first: NextBase, second: NextBase) -> None:
    for (name, mine), theirs in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name


def test_it_learns(run: Make, tmp_path: Path) -> None:
    run(tmp_path / "run", steps=120)
    bits = [float(row[3]) for row in rows(tmp_path / "run")]
    # 0.7, 0.1, 0.1, 0.1 has 1.357 bits.
    assert bits[-1] < 1.5 < bits[0]


def test_same_seed_same_numbers(run: Make, tmp_path: Path) -> None:
    first, _ = run(tmp_path / "a")
    second, _ = run(tmp_path / "b")
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    assert_same(first, second)


class Killed(BaseException):
    """Stands for a kill: nothing in the package may catch it."""


@pytest.mark.parametrize("dies_at", [1, 4, 6, 11])
def test_killed_anywhere_and_resumed_gives_the_same(
    run: Make, make_streams: Make, tmp_path: Path, dies_at: int
) -> None:
    whole, done = run(tmp_path / "whole")

    class Dying(make_streams):  # type: ignore[misc]
        def __next__(self) -> Any:
            if self.count == dies_at:
                raise Killed
            return super().__next__()

    with pytest.raises(Killed):
        run(tmp_path / "parts", streams=Dying())
    resumed, again = run(tmp_path / "parts")
    assert_same(whole, resumed)
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    assert (again.step, again.targets) == (done.step, done.targets)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_saves(
    run: Make, make_streams: Make, tmp_path: Path, number: signal.Signals
) -> None:
    whole, _ = run(tmp_path / "whole")

    class Stopping(make_streams):  # type: ignore[misc]
        def __next__(self) -> Any:
            if self.count == 6:
                os.kill(os.getpid(), number)
            return super().__next__()

    before = signal.getsignal(number)
    with pytest.raises(InterruptedRun, match=f"{number.name} after step 7"):
        run(tmp_path / "parts", streams=Stopping(), checkpoint_steps=1000)
    assert signal.getsignal(number) is before
    resumed, _ = run(tmp_path / "parts", checkpoint_steps=1000)
    assert_same(whole, resumed)


def test_a_finished_run_is_not_trained_again(run: Make, make_streams: Make, tmp_path: Path) -> None:
    first, _ = run(tmp_path / "run")
    streams = make_streams()
    second, progress = run(tmp_path / "run", streams=streams)
    assert progress.finished
    assert progress.step == 12
    assert_same(first, second)


def spoil(task: NextBase, *, calls: range) -> None:
    """Make the logits of some calls infinite."""
    count = iter(range(10**6))

    def hook(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output * float("inf") if next(count) in calls else output

    task.head.register_forward_hook(hook)


def test_a_step_that_is_not_finite_is_left_out(run: Make, make_task: Make, tmp_path: Path) -> None:
    task = make_task()
    spoil(task, calls=range(5, 7))
    trained, progress = run(tmp_path / "run", task=task)
    assert progress.skipped == 2
    assert progress.step == 12
    assert all(bool(torch.isfinite(p).all()) for p in trained.parameters())


def test_too_many_in_a_row_end_the_run(run: Make, make_task: Make, tmp_path: Path) -> None:
    task = make_task()
    spoil(task, calls=range(5, 100))
    with pytest.raises(TrainingError, match="3 steps in a row were not finite"):
        run(tmp_path / "run", task=task, skip_limit=3)


def test_a_checkpoint_of_another_model_is_refused(run: Make, make_task: Make, tmp_path: Path) -> None:
    run(tmp_path / "run")
    task = make_task()
    task.head = torch.nn.Linear(8, 5)
    with pytest.raises(StateMismatchError, match=r"head\.bias is \(4,\) there and \(5,\) here"):
        run(tmp_path / "run", task=task)


def test_accumulation_counts_every_segment(run: Make, tmp_path: Path) -> None:
    _, progress = run(tmp_path / "run", steps=3, accumulate=2)
    assert progress.targets == 3 * 2 * 4 * 16


def test_only_the_last_checkpoint_stays(run: Make, tmp_path: Path) -> None:
    run(tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoint").iterdir()) == [
        "checkpoint.json",
        "step-000000012.safetensors",
    ]
