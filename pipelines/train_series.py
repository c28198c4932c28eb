"""Train a forecaster on a table of series and keep it as a run.

Question: what is the best closed-form forecaster for these series, which of its parts earn their place, and what does
it beat on rows that it has not seen? And, of many series: does a memory that reads each from its first row, pretrained
on most of them, help on the others?

Inputs: CSV or Parquet, long or wide.
Outputs, in the run folder: ``config.yaml run.json model.safetensors state.safetensors report.json``.
Launch: ``titans-seq train-series readings.csv --horizon 96 --out runs/plant``
Cost: seconds to a minute on a CPU, minutes more for many series, `--minutes` at most. The ridge has nothing random; the
memory has ``series.correction.seed``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from titans_seq.config import dump_config
from titans_seq.config.train_series import TrainSeriesConfig
from titans_seq.files import write_json
from titans_seq.tasks.series_files import Snapshot, save_model
from titans_seq.timeseries import TableOptions, read_table, stamp_text
from titans_seq.training.ranks import first_process
from titans_seq.training.run_folder import begin_run, refuse_existing
from titans_seq.training.series_correction import Trial, describe_trial, fit_corrected
from titans_seq.training.series_fit import Fitted
from titans_seq.training.series_output import describe_choice, describe_empty

__all__ = ["TrainSeriesJob", "run"]

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]


@dataclass(frozen=True)
class TrainSeriesJob:
    """A table, how it is read, what may be learned from it, and where the run goes."""

    data: Path
    table: TableOptions
    config: TrainSeriesConfig
    out: Path


def run(job: TrainSeriesJob, *, watch: Watch = lambda stage, done, total, note: None) -> list[str]:
    """Train and write; gives what there is to say.

    Under ``torchrun`` the first process does it all: sums over rows are solved once, and there are no steps to share.
    """
    if not first_process():
        return []
    refuse_existing(job.out, resumable=False)
    panel = read_table(job.data, job.table)
    fitted, trial = fit_corrected(panel, job.config.series, watch=watch)
    if (line := describe_empty(fitted.state)) is not None:
        _log.warning(line)
    newest = stamp_text(int(fitted.state.tick.max()), panel.clock)
    begin_run(job.out, job.config, {"data": str(job.data), "rows": panel.rows, "series": len(panel), "newest": newest})
    save_model(job.out / "model.safetensors", fitted.model, names=panel.names, config=dump_config(job.config))
    Snapshot(fitted.model, fitted.state, panel.names).save(job.out / "state.safetensors")
    write_json(job.out / "report.json", report(fitted, trial, panel_notes=panel.notes))
    return [
        *describe_choice(fitted.choice, fitted.model),
        *describe_trial(trial),
        f"run: {job.out}; `titans-seq forecast {job.data} --model {job.out}`, or `titans-seq observe NEW.csv --state "
        f"{job.out / 'state.safetensors'}`",
    ]


def report(fitted: Fitted, trial: Trial | None, *, panel_notes: tuple[str, ...]) -> dict[str, Any]:
    """Give every figure of the choice."""
    choice, model = fitted.choice, fitted.model
    record: dict[str, Any] = {
        "format_version": 1,
        "pipeline": "train_series",
        "method": model.method,
        "recipe": model.recipe.to_json(),
        "table": list(panel_notes),
        "remarks": describe_choice(choice, model),
        "state_bytes": fitted.state.nbytes,
        "without_numbers": fitted.state.empty,
    }
    if choice is not None:
        record["validation_mse"] = {"structured ridge": choice.best.mse, "ridge": choice.ridge.mse, **choice.baselines}
        record["parts"] = [
            dict(zip(("part", "gain", "spread", "ships"), trial, strict=True)) for trial in choice.trials
        ]
    record["correction"] = None if trial is None else asdict(trial)
    record["clock"] = asdict(model.clock)
    return record
