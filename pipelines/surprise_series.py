"""A score of every row of a table of series: `surprise` for series.

Question: which rows did an encoder with a memory not see coming?

Inputs: as of `pipelines.embed_series`. A row's score depends on its own series up to there, and on the model.
Output: id, stamp, values and score of each row. A row that the table lacks within a series has neither value nor score.
A run that was killed goes on with the series that were not finished.
Launch: ``titans-seq surprise meters.csv --id-col meter --time-col stamp --target-col kwh -o scores.csv``
Cost: one pass, RAM for the table and the output; figures by machine are in LOG.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import polars as pl

from titans_seq.errors import unknown_name
from titans_seq.estimators.series_job import SeriesJob, open_job
from titans_seq.estimators.series_reading import SCORES, Floats, read_series, row_scores
from titans_seq.timeseries.score_table import score_rows, write_rows

Watch = Callable[[str, float, float, str], None]

TABLES = (".csv", ".parquet")


def prepare(**options: Any) -> SeriesJob:
    """Read and check everything; see `titans_seq.estimators.series_job.open_job`."""
    return open_job(suffixes=TABLES, **options)


def run(job: SeriesJob, *, what: str = "loss", watch: Watch = lambda stage, done, total, note: None) -> tuple[int, int]:
    """Write a score for every row; gives how many have one, and the number of rows."""
    if what not in SCORES:
        raise unknown_name("score of a table", what, SCORES)
    embedder = job.embedder
    first = np.cumsum([0, *map(len, job.series)])
    with closing(job.work(what={"what": what}, regions=job.rows, width=1)) as work:
        left = [number for number in range(len(job.series)) if number not in work.done]
        tokens = job.tokens(left)
        read = job.rows - sum(len(job.series[number]) for number in left)
        for part in read_series(embedder.task_, tokens, rows=embedder.batch_size, layer=-1, record=what != "loss"):
            number, begin = left[part.number], part.start * embedder.patch
            found = row_scores(part, what, patch=embedder.patch)[: len(job.series[number]) - begin]
            work.put(0, int(first[number]) + begin, found)
            if part.start + len(part.known) == len(tokens[part.number]):
                work.finish_soon(number)
            read += len(found)
            watch("surprise", read, job.rows, f"{read:,} of {job.rows:,} rows")
        work.finish()
        scores = work.rows(0, 0, job.rows)[:, 0].copy()
        scores[np.concatenate([np.isnan(one).all(axis=1) for one in job.series])] = np.nan
        write_rows(job.out, pl.concat(_frames(job, np.split(scores, first[1:-1]), what)))
    work.remove()
    return int((~np.isnan(scores)).sum()), job.rows


def _frames(job: SeriesJob, scores: list[Floats], what: str) -> Iterator[pl.DataFrame]:
    channels = ("y",) if job.series[0].shape[1] == 1 else job.panel.channels
    for name, ticks, series, own in zip(job.names, job.ticks, job.series, scores, strict=True):
        columns = {channel: series[:, column] for column, channel in enumerate(channels)}
        frame = score_rows({**columns, what: own}, ticks, job.panel.clock, time_name="ds")
        yield frame.insert_column(0, pl.Series("unique_id", [name] * len(own), dtype=pl.String))
