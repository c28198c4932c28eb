"""Vectors of series, or of windows of time, from a table: `embed` for series.

Question: what does an encoder with a memory make of each series?

Inputs: a CSV or Parquet table, long or wide; a file of `TitansEmbedder.save`, or of ``--train`` here. Without one the
weights are drawn (always the same ones) and only the memory learns. Rows are scaled by those before them, so what a
window is given depends on its own series up to there, and on the model.
Output: id, first and last stamp and vector of each series or window. A row that the table lacks within a series counts
as a row. A run that was killed goes on with the series that were not finished.
Launch: ``titans-seq embed meters.csv --id-col meter --time-col stamp --target-col kwh --window 168 -o weeks.parquet``
Cost: one pass, RAM for the table and the output; figures by machine are in LOG.md.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np

from titans_seq.errors import ConfigError, unknown_name
from titans_seq.estimators.series_job import SeriesJob, open_job
from titans_seq.estimators.series_reading import pool_series
from titans_seq.streaming.readings import layer_number
from titans_seq.timeseries.vector_table import SUFFIXES, window_rows, write_vectors

Watch = Callable[[str, float, float, str], None]

POOLS = ("mean", "max", "last")


def prepare(**options: Any) -> SeriesJob:
    """Read and check everything; see `titans_seq.estimators.series_job.open_job`."""
    return open_job(suffixes=SUFFIXES, **options)


def run(
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
    patch, width = embedder.patch, embedder.task_.encoder.d_model
    if stride is not None and window is None:
        raise ConfigError("--stride belongs to --window")
    if any((size or 0) % patch for size in (window, stride)):
        raise ConfigError(f"this model reads {patch} rows at a time: --window and --stride must be multiples of that")
    if pool not in POOLS:
        raise unknown_name("pool of series", pool, POOLS)
    layer_number(layer, blocks=len(embedder.task_.encoder.blocks))
    windows = [window_rows(len(one), window=window, stride=stride) for one in job.series]
    first = np.cumsum([0, *map(len, windows)])
    how = {"window": window, "stride": stride, "pool": pool, "layer": layer}
    with closing(job.work(what=how, regions=int(first[-1]), width=width)) as work:
        left = [number for number in range(len(job.series)) if number not in work.done]
        spans = [-(-windows[number] // patch) for number in left]
        read = job.rows - sum(len(job.series[number]) for number in left)
        for place, vectors in pool_series(
            embedder.task_, job.tokens(left), spans, rows=embedder.batch_size, pool=pool, layer=layer
        ):
            number = left[place]
            work.put(0, int(first[number]), vectors)
            work.finish_soon(number)
            read += len(job.series[number])
            watch("embed", read, job.rows, f"{read:,} of {job.rows:,} rows")
        work.finish()
        together = work.rows(0, 0, int(first[-1]))
        write_vectors(job.out, job.names, job.ticks, windows, together, clock=job.panel.clock)
    work.remove()
    return len(together), width
