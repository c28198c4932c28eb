"""Vectors of series, or of windows of time, and a score of every row, from a table: `embed` and `surprise` for series.

Question: what does an encoder with a memory make of each series, and which rows did it not see coming?

Inputs: a CSV or Parquet table, long or wide; a file of `TitansEmbedder.save`, or of ``--train`` here. Without one the
weights are drawn (always the same ones) and only the memory learns. Rows are scaled by those before them, so what a
row or window is given depends on its own series up to there, and on the model.
Outputs: `embed` writes id, first and last stamp and vector of each series or window; `surprise` id, stamp, values and
score of each row. A row that the table lacks within a series counts as a row, and has neither value nor score.
Launch: ``titans-seq embed meters.csv --id-col meter --time-col stamp --target-col kwh --window 168 -o weeks.parquet``
Cost: one pass, RAM for the table and the output; figures by machine are in LOG.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from titans_seq.errors import ConfigError, unknown_name
from titans_seq.estimators import TitansEmbedder
from titans_seq.estimators.panel_series import open_embedder, series_of
from titans_seq.estimators.series import Series, patches
from titans_seq.estimators.series_reading import SCORES, Floats, pool_series, read_series, row_scores
from titans_seq.files import check_out
from titans_seq.ops.native.room import keep_freed_memory
from titans_seq.streaming.device import choose_device
from titans_seq.timeseries import Panel, TableOptions, Ticks, read_table
from titans_seq.timeseries.score_table import score_rows, write_rows
from titans_seq.timeseries.vector_table import SUFFIXES, window_rows, write_vectors

Watch = Callable[[str, float, float, str], None]

POOLS = ("mean", "max", "last")
TABLES = (".csv", ".parquet")


@dataclass(frozen=True)
class SeriesJob:
    """What is read, with what, and where to; made by `prepare`. Series are (T, C), NaN where a value is missing."""

    panel: Panel
    names: tuple[str, ...]
    ticks: tuple[Ticks, ...]
    series: tuple[Series, ...]
    embedder: TitansEmbedder
    out: Path

    @property
    def rows(self) -> int:
        """Rows of all series."""
        return sum(map(len, self.series))

    def tokens(self) -> list[Floats]:
        """The series as the encoder reads them."""
        embedder = self.embedder
        return [patches(embedder.scale_.apply(one), embedder.patch) for one in self.series]


def prepare(
    *,
    table: Path,
    out: Path,
    options: TableOptions,
    model: Path | None = None,
    train: int = 0,
    device: str = "auto",
    threads: int | None = None,
    suffixes: Sequence[str] = SUFFIXES,
) -> SeriesJob:
    """Read and check everything, and train where that is asked for.

    Parameters
    ----------
    model
        What `TitansEmbedder.save` wrote for series, or with ``train``, where to write such a file.
    train
        Steps of self-supervised training on this table first.
    """
    if out.suffix not in suffixes:
        raise unknown_name("kind of output file", out.suffix or out.name, suffixes)
    check_out(out)
    if train and (model is None or model.exists()):
        raise ConfigError("--train writes the model it makes: name a new file by --model")
    where = choose_device(device)
    torch.set_num_threads(threads or 1)  # the operations are too small to be worth sharing
    keep_freed_memory()
    embedder = None if model is None or train else open_embedder(model)
    panel = read_table(table, options)
    names, ticks, series = series_of(panel, apart=options.wide)
    if embedder is None:
        embedder = TitansEmbedder(scale="past", steps=train, device=str(where)).fit(list(series))
        if train and model is not None:
            embedder.save(model)
    channels = len(embedder.scale_.centre)
    if channels != series[0].shape[1]:
        raise ConfigError(f"{model}: reads series of {channels} columns, found {series[0].shape[1]} in {table}")
    embedder.task_.to(where)
    return SeriesJob(panel, names, ticks, series, embedder, out)


def embed(
    job: SeriesJob,
    *,
    window: int | None = None,
    stride: int | None = None,
    pool: str = "mean",
    layer: int = -1,
    watch: Watch = lambda stage, done, total, note: None,
) -> tuple[int, int]:
    """Write the vectors; gives how many, and their width."""
    embedder = job.embedder
    patch = embedder.patch
    if stride is not None and window is None:
        raise ConfigError("--stride belongs to --window")
    if any((size or 0) % patch for size in (window, stride)):
        raise ConfigError(f"this model reads {patch} rows at a time: --window and --stride must be multiples of that")
    if pool not in POOLS:
        raise unknown_name("pool of series", pool, POOLS)
    windows = [window_rows(len(one), window=window, stride=stride) for one in job.series]
    spans = [-(-own // patch) for own in windows]
    found: dict[int, Floats] = {}
    read = 0
    for number, vectors in pool_series(
        embedder.task_, job.tokens(), spans, rows=embedder.batch_size, pool=pool, layer=layer
    ):
        found[number] = vectors
        read += len(job.series[number])
        watch("embed", read, job.rows, f"{read:,} of {job.rows:,} rows")
    together = np.concatenate([found[number] for number in range(len(job.series))])
    write_vectors(job.out, job.names, job.ticks, windows, together, clock=job.panel.clock)
    return together.shape[0], together.shape[1]


def surprise(
    job: SeriesJob, *, what: str = "loss", watch: Watch = lambda stage, done, total, note: None
) -> tuple[int, int]:
    """Write a score for every row; gives how many have one, and the number of rows."""
    if what not in SCORES:
        raise unknown_name("score of a table", what, SCORES)
    embedder, read = job.embedder, 0
    scores = [np.full(len(one), np.nan) for one in job.series]
    for part in read_series(embedder.task_, job.tokens(), rows=embedder.batch_size, layer=-1, record=what != "loss"):
        first, own = part.start * embedder.patch, scores[part.number]
        found = row_scores(part, what, patch=embedder.patch)[: len(own) - first]
        own[first : first + len(found)] = found
        read += len(found)
        watch("surprise", read, job.rows, f"{read:,} of {job.rows:,} rows")
    for one, own in zip(job.series, scores, strict=True):
        own[np.isnan(one).all(axis=1)] = np.nan
    write_rows(job.out, pl.concat(_score_frames(job, scores, what)))
    return int(sum((~np.isnan(own)).sum() for own in scores)), job.rows


def _score_frames(job: SeriesJob, scores: list[Any], what: str) -> Iterator[pl.DataFrame]:
    channels = ("y",) if job.series[0].shape[1] == 1 else job.panel.channels
    for name, ticks, series, own in zip(job.names, job.ticks, job.series, scores, strict=True):
        columns = {channel: series[:, column] for column, channel in enumerate(channels)}
        frame = score_rows({**columns, what: own}, ticks, job.panel.clock, time_name="ds")
        yield frame.insert_column(0, pl.Series("unique_id", [name] * len(own), dtype=pl.String))
