"""Tables larger than memory: the newest rows, rows newer than a state, and the refusal that names both sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from titans_seq.errors import RangeError
from titans_seq.timeseries import TableOptions, extent, read_table, reading
from titans_seq.timeseries.extent import check_memory

HOUR = np.timedelta64(1, "h")


def write(path: Path, rows: int, ids: tuple[str, ...] = ("a", "b")) -> Path:
    frames = []
    for number, name in enumerate(ids):
        # The second series ends half-way: it keeps its own newest rows.
        stamps = np.datetime64("2020-01-01T00", "us") + np.arange(rows // (number + 1)) * HOUR
        values = np.arange(len(stamps)) + 1000 * number
        frames.append(pl.DataFrame({"unique_id": [name] * len(stamps), "ds": stamps, "y": values}))
    pl.concat(frames).write_csv(path)
    return path


@pytest.fixture(autouse=True)
def looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SMALL", 0)
    monkeypatch.setattr(extent, "LEAST", 10)


def test_every_series_keeps_its_newest_rows_and_it_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 600)
    panel = read_table(path, TableOptions(max_rows=150))
    assert any("of 900 rows about the newest 150 are looked at; --max-rows 0" in note for note in panel.notes)
    assert panel.track_ids() == ["a", "b"]
    assert [series.values[-1, 0] for series in panel] == [599, 1299]
    assert all(len(series) == 600 * 150 // 900 for series in panel)
    whole = read_table(path)
    assert [len(series) for series in whole] == [600, 300]
    assert not any("newest" in note for note in whole.notes)


def test_few_rows_of_many_series_are_kept_whatever_was_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 12)
    assert [len(series) for series in read_table(path, TableOptions(max_rows=2))] == [12, 6]


def test_one_series_without_an_id(tmp_path: Path) -> None:
    stamps = np.datetime64("2020-01-01T00", "us") + np.arange(500) * HOUR
    pl.DataFrame({"ds": stamps, "y": np.arange(500)}).write_parquet(tmp_path / "t.parquet")
    panel = read_table(tmp_path / "t.parquet", TableOptions(max_rows=100))
    # The last 100 of 500 times 499 hours are 99.8 hours, which hold 100 stamps.
    assert panel.series[0].values[:, 0].tolist() == list(range(400, 500))


def test_rows_that_a_state_has_read_stay_where_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 600)
    whole = read_table(path)
    newest = int(whole.series[0].ticks[589])
    panel = read_table(path, clock=whole.clock, newer_than=newest)
    assert panel.track_ids() == ["a"]
    assert len(panel.series[0]) <= 10 + 24  # a day of margin
    assert (panel.series[0].ticks[-10:] == whole.series[0].ticks[590:]).all()
    last = int(whole.series[0].ticks[-1]) + 86_400_000_000
    assert len(read_table(path, clock=whole.clock, newer_than=last)) == 0


def test_a_table_that_does_not_fit_is_refused_with_both_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extent, "free_memory", lambda: 3_000_000_000)
    check_memory(20_000_000, numbers=1, path=Path("big.csv"))
    with pytest.raises(RangeError, match=r"100,000,000 rows need about 10\.0 GB of memory, and 3\.0 GB are free"):
        check_memory(100_000_000, numbers=1, path=Path("big.csv"))
