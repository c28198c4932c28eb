"""Forecast tables: names of columns, stamps in the clock's zone, whole files or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from titans_seq.errors import ConfigError
from titans_seq.timeseries import Clock, Names
from titans_seq.timeseries.writing import column_of, forecast_table, stamp_column, write_table

HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("quantile", "name"),
    [
        (0.05, "titans-lo-90"),
        (0.95, "titans-hi-90"),
        (0.5, "titans-median"),
        (0.4, "titans-lo-20"),
        (0.1, "titans-lo-80"),
    ],
)
def test_columns_are_named_by_level(quantile: float, name: str) -> None:
    assert column_of(quantile) == name


def test_stamps_are_written_in_the_zone_of_the_clock() -> None:
    night = int(np.datetime64("2024-10-26T23", "us").astype(np.int64))
    clock = Clock("us", HOUR, night, zone="Europe/Berlin")
    stamps = stamp_column(clock.ticks(np.arange(4)), clock)
    assert stamps.dt.hour().to_list() == [1, 2, 2, 3]
    assert stamp_column(np.array([3, 4]), Clock("integer", 1, 0)).to_list() == [3, 4]


def test_a_table_has_a_row_per_track_and_step(tmp_path: Path) -> None:
    clock = Clock("us", 24 * HOUR, 0, dates=True)
    ticks = [clock.ticks(np.array([1, 2])), clock.ticks(np.array([5, 6]))]
    frame = forecast_table(["a", "b"], ticks, {"titans": np.arange(4.0).reshape(2, 2)}, clock=clock, names=Names())
    assert frame["unique_id"].to_list() == ["a", "a", "b", "b"]
    assert [str(day) for day in frame["ds"]] == ["1970-01-02", "1970-01-03", "1970-01-06", "1970-01-07"]
    write_table(frame, tmp_path / "f.csv")
    assert pl.read_csv(tmp_path / "f.csv", try_parse_dates=True).equals(frame)
    with pytest.raises(ConfigError, match=r"\.csv or \.parquet"):
        write_table(frame, tmp_path / "f.xlsx")
    with pytest.raises(ConfigError, match="no such folder to write in"):
        write_table(frame, tmp_path / "no" / "f.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["f.csv"]
