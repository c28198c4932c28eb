"""Progress on standard error: a bar with an estimate on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY = 30.0
"""Seconds between two lines where standard error is no terminal."""


class Talk:
    """Shows how far each stage of a job is; `watch` has the signature that training and scoring call."""

    def __init__(self, *, quiet: bool = False) -> None:
        # Of the processes of a job (torchrun) one talks.
        self._quiet = quiet or os.environ.get("RANK", "0") != "0"
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._stage = ""
        self._started = 0.0
        self._said = 0.0

    def __enter__(self) -> Talk:
        if sys.stderr.isatty() and not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            self._bars = Progress(
                TextColumn("{task.description:<20}"),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def watch(self, stage: str, done: float, total: float, note: str) -> None:
        """Show that ``stage`` has done ``done`` of ``total``."""
        if self._bars is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total, note=note)
            self._bars.update(self._tasks[stage], completed=done, total=total, note=note)
            return
        if self._quiet:
            return
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._started, self._said = stage, now, now
        if now - self._said >= LINE_EVERY:
            self._said = now
            left = (now - self._started) * (total - done) / done if done > 0 else float("nan")
            click.echo(f"{stage}: {done / total:.0%}, {left / 60:.1f} min left, {note}", err=True)


@contextmanager
def going_on() -> Iterator[None]:
    """Of jobs that note where they stand: Ctrl-C ends them in a line that says so."""
    from titans_seq.errors import InterruptedRun

    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRun("interrupted; the same command goes on where it was, less a minute at most") from None
