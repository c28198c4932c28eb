"""`metrics.csv`, a row at a time, and TensorBoard beside it where that is installed."""

from __future__ import annotations

import csv
import io
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from titans_seq.files import write_error, write_text
from titans_seq.tasks import Units

_log = logging.getLogger(__name__)

REPEATABLE = 7
"""That many columns, the first ones, are the same in every run with the same seed on the same machine."""


def columns(units: Units) -> tuple[str, ...]:
    """Name the columns for a task's units: ``step epoch bases bits_per_base ... bases_per_second peak_ram_mb``."""
    counted = ("step", "epoch", units.targets, units.score, "learning_rate", "gradient_norm", "skipped")
    return (*counted, "seconds", f"{units.targets}_per_second", "peak_ram_mb")


class MetricsLog:
    """Append rows to ``metrics.csv``; rows behind the step that a run resumes from are dropped first.

    Parameters
    ----------
    folder
        The run folder.
    units
        What the task counts and scores.
    resume_step
        Keep rows up to this step; 0 starts a new file.
    """

    def __init__(self, folder: Path, *, units: Units, resume_step: int = 0) -> None:
        self._columns = columns(units)
        self._path = folder / "metrics.csv"
        kept = [row for row in read_metrics(folder) if int(row["step"]) <= resume_step] if resume_step else []
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        write_text(self._path, text.getvalue())
        self._board = _tensorboard(folder, resume_step)

    def add(self, row: dict[str, Any]) -> None:
        """Append one row; floats are written so that they read back exactly."""
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)
        except OSError as error:
            raise write_error(self._path, error) from None
        if self._board is not None:
            for name in self._columns[3:]:
                self._board.add_scalar(name, row[name], row["step"])

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self._board is not None:
            self._board.close()


def read_metrics(folder: Path) -> list[dict[str, str]]:
    """Read the rows of ``metrics.csv``; none where there is no file. A last line cut short is left out."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    return [row for row in csv.DictReader(whole) if None not in row.values()]


def _tensorboard(folder: Path, resume_step: int) -> Any:
    """A writer of scalars below ``folder``; None where TensorBoard is not installed, or not in a form torch takes."""
    if find_spec("tensorboard") is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        _log.debug("no TensorBoard: %s", error)
        return None

    _log.info("TensorBoard files go to %s", folder / "tensorboard")
    return SummaryWriter(folder / "tensorboard", purge_step=resume_step or None)
