"""Reading tables of series: what users of other packages complain about, one test each."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from titans_seq.errors import ConfigError, InputFileError, UnknownNameError
from titans_seq.timeseries import TableOptions, cells, read_table

HOURS = [f"2024-01-01 {hour:02d}:00:00" for hour in range(24)]


def write(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def rows(*lines: str, header: str = "ds,y") -> str:
    return "\n".join([header, *lines]) + "\n"


def test_long_table_with_ids(tmp_path: Path) -> None:
    panel = read_table(
        write(tmp_path, rows("b,2024-01-01,1", "b,2024-01-02,2", "a,2024-01-01,3", header="unique_id,ds,y"))
    )
    assert panel.track_ids() == ["b", "a"]
    assert panel.clock.name == "1d"
    assert [series.values[:, 0].tolist() for series in panel] == [[1, 2], [3]]
    assert panel.names.has_ids


def test_wide_table_gives_a_channel_per_column(tmp_path: Path) -> None:
    panel = read_table(write(tmp_path, rows("2024-01-01 00:00,1,2", "2024-01-01 01:00,3,4", header="date,OT,HUFL")))
    assert panel.channels == ("OT", "HUFL")
    assert panel.track_ids() == ["OT", "HUFL"]
    assert panel.series[0].values.tolist() == [[1, 2], [3, 4]]


def test_gaps_become_missing_values_and_are_reported(tmp_path: Path) -> None:
    panel = read_table(write(tmp_path, rows("2024-01-01,1", "2024-01-02,2", "2024-01-05,5", "2024-01-06,6")))
    assert np.isnan(panel.series[0].values[:, 0]).tolist() == [False, False, True, True, False, False]
    assert panel.series[0].mask[:, 0].sum() == 4
    assert any("2 rows in 1 gaps" in note for note in panel.notes)


def test_unsorted_rows_are_sorted_and_it_is_said(tmp_path: Path) -> None:
    panel = read_table(write(tmp_path, rows("2024-01-02,2", "2024-01-01,1", "2024-01-03,3")))
    assert panel.series[0].values[:, 0].tolist() == [1, 2, 3]
    assert any("sorted" in note for note in panel.notes)


def test_duplicates_are_refused_with_both_lines(tmp_path: Path) -> None:
    path = write(tmp_path, rows("2024-01-01,1", "2024-01-02,2", "2024-01-01,5", "2024-01-03,3"))
    with pytest.raises(InputFileError, match=r"line 4: .* line 2 already .*--duplicates"):
        read_table(path)
    for how, value in (("first", 1.0), ("last", 5.0), ("mean", 3.0)):
        assert read_table(path, TableOptions(duplicates=how)).series[0].values[0, 0] == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cell", "words"),
    [("abc", "a number, found 'abc'"), ("inf", "infinite"), ('"1,5"', "--decimal-comma"), ("1;5", "found '1;5'")],
)
def test_text_in_a_number_column_names_line_and_column(tmp_path: Path, cell: str, words: str) -> None:
    path = write(tmp_path, rows("2024-01-01,1", "2024-01-02,2", f"2024-01-03,{cell}", "2024-01-04,4"))
    with pytest.raises(InputFileError, match=r"line 4: column 'y'") as caught:
        read_table(path)
    assert words in str(caught.value)


def test_missing_words_are_missing_values(tmp_path: Path) -> None:
    panel = read_table(write(tmp_path, rows("2024-01-01,1", "2024-01-02,NA", "2024-01-03,", "2024-01-04,nan")))
    assert np.isnan(panel.series[0].values[1:, 0]).all()


def test_decimal_commas(tmp_path: Path) -> None:
    path = write(tmp_path, rows("01.02.2024;1.234,5", "02.02.2024;2,5", "03.02.2024;3,5", header="Datum;Wert"))
    panel = read_table(path, TableOptions(decimal_comma=True))
    assert panel.series[0].values[:, 0].tolist() == [1234.5, 2.5, 3.5]
    assert panel.clock.name == "1d"


def test_no_time_column(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"no time column.*--time-col"):
        read_table(write(tmp_path, rows("1,2", "3,4", header="a,b")))


def test_two_time_columns(tmp_path: Path) -> None:
    text = rows("2024-01-01,2024-02-01,1", "2024-01-02,2024-02-02,2", header="date,timestamp,y")
    with pytest.raises(InputFileError, match=r"'date' and 'timestamp' could both be the time.*--time-col"):
        read_table(write(tmp_path, text))
    assert read_table(write(tmp_path, text), TableOptions(time_col="date")).names.time == "date"


def test_day_or_month_first_is_settled_by_the_whole_column_or_asked(tmp_path: Path) -> None:
    panel = read_table(write(tmp_path, rows(*(f"{day:02d}/01/2024,{day}" for day in range(1, 20)))))
    assert panel.clock.name == "1d"
    with pytest.raises(InputFileError, match="--time-format"):
        read_table(write(tmp_path, rows("01/02/2024,1", "02/02/2024,2")))


def test_unknown_column_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'value'"):
        read_table(write(tmp_path, rows("2024-01-01,1", header="ds,value")), TableOptions(target_cols=("valu",)))


def test_different_steps_per_id(tmp_path: Path) -> None:
    hourly = [f"h,{stamp},1" for stamp in HOURS]
    daily = [f"d,2024-01-{day:02d} 00:00:00,1" for day in range(1, 9)]
    with pytest.raises(InputFileError, match=r"'h' every 1 h, 'd' every 1 d.*split the table"):
        read_table(write(tmp_path, rows(*hourly, *daily, header="unique_id,ds,y")))


def test_offsets_are_read_as_moments(tmp_path: Path) -> None:
    text = rows("2024-03-31T01:00:00+01:00,1", "2024-03-31T03:00:00+02:00,2", "2024-03-31T04:00:00+02:00,3")
    panel = read_table(write(tmp_path, text))
    assert panel.clock.name == "1h"
    assert panel.clock.zone == "UTC"
    assert len(panel.series[0]) == 3


def test_stamps_with_and_without_a_zone_are_refused(tmp_path: Path) -> None:
    text = rows(*(f"{stamp},1" for stamp in HOURS), "2024-01-02T00:00:00+01:00,2")
    with pytest.raises(InputFileError, match=r"could both|no time column|line 26"):
        read_table(write(tmp_path, text))


def test_the_hour_that_comes_twice(tmp_path: Path) -> None:
    stamps = ["00:00", "01:00", "02:00", "02:00", "03:00"]
    path = write(tmp_path, rows(*(f"2024-10-27 {stamp},{i}" for i, stamp in enumerate(stamps))))
    with pytest.raises(InputFileError, match="--time-zone"):
        read_table(path)
    panel = read_table(path, TableOptions(time_zone="Europe/Berlin"))
    assert panel.series[0].values[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert (np.diff(panel.series[0].ticks) == 3_600_000_000).all()


def test_the_hour_that_does_not_exist(tmp_path: Path) -> None:
    path = write(tmp_path, rows("2024-03-31 01:00,1", "2024-03-31 02:00,2", "2024-03-31 03:00,3"))
    with pytest.raises(InputFileError, match=r"line 3: 2024-03-31 02:00:00 does not exist in Europe/Berlin"):
        read_table(path, TableOptions(time_zone="Europe/Berlin"))
    with pytest.raises(ConfigError, match="no such zone"):
        read_table(path, TableOptions(time_zone="Europe/Atlantis"))


def test_a_row_beside_the_clock_is_named(tmp_path: Path) -> None:
    stamps = [f"2024-01-{day:02d} {hour:02d}:00:00" for day in range(1, 11) for hour in range(24)]
    stamps[100] = stamps[100].replace(":00:00", ":10:00")
    with pytest.raises(InputFileError, match=r"line 102: .*not on the clock of 1h \(1 such rows\).*--freq rows"):
        read_table(write(tmp_path, rows(*(f"{stamp},1" for stamp in stamps))))


def test_rows_beside_the_clock_are_moved_or_left_out_when_asked(tmp_path: Path) -> None:
    clock = read_table(write(tmp_path, rows(*(f"{stamp},1" for stamp in HOURS)))).clock
    late = write(tmp_path, rows("2024-01-02 00:00,1", "2024-01-02 00:58,2", "2024-01-02 02:10,3"), "late.csv")
    with pytest.raises(InputFileError, match=r"line 3: .*when the model was made, so .*--off-clock nearest"):
        read_table(late, clock=clock)
    panel = read_table(late, TableOptions(off_clock="nearest"), clock=clock)
    assert panel.series[0].values[:, 0].tolist() == [1, 2, 3]
    assert "2 rows beside the clock of 1h, first 2024-01-02 00:58:00 in line 3" in panel.notes[-1]
    panel = read_table(late, TableOptions(off_clock="drop"), clock=clock)
    assert panel.series[0].values[:, 0].tolist() == [1]
    both = write(tmp_path, rows("2024-01-02 00:00,1", "2024-01-02 00:10,2"), "both.csv")
    with pytest.raises(InputFileError, match=r"line 3: the same time stands in line 2 already.*--duplicates"):
        read_table(both, TableOptions(off_clock="nearest"), clock=clock)
    with pytest.raises(InputFileError, match=r"no row stands on the clock of 1h"):
        read_table(write(tmp_path, rows("2024-01-02 00:10,2"), "none.csv"), TableOptions(off_clock="drop"), clock=clock)
    with pytest.raises(ConfigError, match=r"--freq 30m: the clock was settled as 1h"):
        read_table(late, TableOptions(freq="30m"), clock=clock)
    with pytest.raises(ConfigError, match=r"--off-clock drop: the stamps are uneven.*--freq"):
        read_table(late, TableOptions(off_clock="drop"))
    assert len(read_table(late, TableOptions(off_clock="drop", freq="1h")).series[0]) == 1


def test_rows_move_to_the_nearest_working_day_and_month(tmp_path: Path) -> None:
    days = [f"2024-01-{day:02d},1" for day in (*range(1, 6), *range(8, 13), *range(15, 20))]
    clock = read_table(write(tmp_path, rows(*days))).clock
    assert clock.name == "1bd"
    path = write(tmp_path, rows("2024-01-22,1", "2024-01-27,2", "2024-01-30,3"), "new.csv")  # the 27th is a Saturday
    panel = read_table(path, TableOptions(off_clock="nearest"), clock=clock)
    assert [str(np.datetime64(int(tick), "us"))[:10] for tick in panel.series[0].ticks[[0, 4, 6]]] == [
        "2024-01-22", "2024-01-26", "2024-01-30",
    ]  # fmt: skip
    assert panel.series[0].values[[0, 4, 6], 0].tolist() == [1, 2, 3]
    clock = read_table(write(tmp_path, rows(*(f"2024-{month:02d}-01,1" for month in range(1, 9))))).clock
    path = write(tmp_path, rows("2024-09-02,1", "2024-09-29,2"), "months.csv")
    assert read_table(path, TableOptions(off_clock="nearest"), clock=clock).series[0].values[:, 0].tolist() == [1, 2]


def test_uneven_stamps_count_rows(tmp_path: Path) -> None:
    stamps = ("00:00:03", "00:10:59", "00:31:00", "00:33:17", "01:14:31", "01:15:02")
    panel = read_table(write(tmp_path, rows(*(f"2024-01-01 {stamp},1" for stamp in stamps))))
    assert panel.clock.name == "rows"
    assert len(panel.series[0]) == 6
    assert any("uneven" in note for note in panel.notes)


@pytest.mark.parametrize(
    ("stamps", "name"),
    [
        (["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"], "1mo"),
        (["2024-01-01", "2024-04-01", "2024-07-01"], "1q"),
        (["2020-06-30", "2021-06-30", "2022-06-30"], "1y"),
        (["2024-01-01", "2024-01-08", "2024-01-15"], "1w"),
        (["1949-01", "1949-02", "1949-03"], "1mo"),
        (["19580329", "19580405", "19580412"], "1w"),
        (["3", "4", "5"], "1"),
    ],
)
def test_clocks(tmp_path: Path, stamps: list[str], name: str) -> None:
    panel = read_table(write(tmp_path, rows(*(f"{stamp},1" for stamp in stamps))))
    clock, series = panel.clock, panel.series[0]
    assert clock.name == name
    assert len(series) == len(stamps)
    after = clock.after(int(series.ticks[-1]), series.stop - 1, 5)
    positions, exact = clock.positions(after)
    assert exact.all()
    assert (positions == series.stop + np.arange(5)).all()


def test_month_ends_stay_month_ends(tmp_path: Path) -> None:
    panel = read_table(write(tmp_path, rows("2024-01-31,1", "2024-02-29,1", "2024-03-31,1")))
    after = panel.clock.after(int(panel.series[0].ticks[-1]), panel.series[0].stop - 1, 2)
    assert after.astype("M8[us]").astype("M8[D]").astype(str).tolist() == ["2024-04-30", "2024-05-31"]


def test_business_days(tmp_path: Path) -> None:
    days = np.busday_offset("2024-01-01", np.arange(30))
    panel = read_table(write(tmp_path, rows(*(f"{day},1" for day in days))))
    assert panel.clock.name == "1bd"
    assert not np.isnan(panel.series[0].values).any()


@pytest.mark.parametrize("text", ["", "ds,y\n", "ds,y,y\n2024-01-01,1,2\n"])
def test_empty_and_broken_tables(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputFileError):
        read_table(write(tmp_path, text))


def test_a_missing_file() -> None:
    with pytest.raises(InputFileError, match="no such file"):
        read_table("nowhere.csv")


def test_one_row(tmp_path: Path) -> None:
    panel = read_table(write(tmp_path, rows("2024-01-01,1")))
    assert panel.rows == 1


def test_gzip_and_parquet_give_the_same(tmp_path: Path) -> None:
    text = rows(*(f"{stamp},{i}" for i, stamp in enumerate(HOURS)))
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    frame = pl.read_csv(write(tmp_path, text), try_parse_dates=True)
    frame.write_parquet(tmp_path / "t.parquet")
    frame.with_columns(pl.col("ds").dt.replace_time_zone("UTC")).write_parquet(tmp_path / "z.parquet")
    plain = read_table(tmp_path / "t.csv")
    for name in ("t.csv.gz", "t.parquet", "z.parquet"):
        panel = read_table(tmp_path / name)
        assert (panel.series[0].ticks == plain.series[0].ticks).all()
        assert panel.series[0].values.tolist() == plain.series[0].values.tolist()


def test_a_hundred_thousand_ids(tmp_path: Path) -> None:
    ids = np.repeat(np.arange(100_000), 3)
    stamps = np.tile(np.array(["2024-01-01", "2024-01-02", "2024-01-03"], dtype="M8[D]"), 100_000)
    pl.DataFrame({"unique_id": ids.astype(str), "ds": stamps, "y": np.arange(300_000.0)}).write_parquet(
        tmp_path / "m.pq"
    )
    panel = read_table(tmp_path / "m.pq")
    assert len(panel) == 100_000
    assert panel.series[-1].values[:, 0].tolist() == [299_997.0, 299_998.0, 299_999.0]


def test_duplicates_of_a_public_table_are_named(shared_data: Path) -> None:
    path = shared_data / "timeseries" / "PJM_AEP_hourly.csv.gz"
    with pytest.raises(InputFileError, match=r"line 82495: the same time stands in line 82494 already \(4 such rows\)"):
        read_table(path)
    assert read_table(path, TableOptions(duplicates="mean")).rows == 121_296


def test_a_thousand_columns_of_numbers_are_told_from_stamps_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    read = cells.read_times
    monkeypatch.setattr(cells, "read_times", lambda text, reading: tried.append(reading) or read(text, reading))
    header = "day," + ",".join(f"s{i}" for i in range(1000))
    path = write(tmp_path, rows(*(f"2024-01-{d:02d}" + f",{d}.5,{d}" * 500 for d in range(1, 9)), header=header))
    assert len(read_table(path).channels) == 1000
    assert len(tried) < 50


def test_a_table_without_a_header_and_one_with_hundreds_of_columns(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="the first line holds numbers: give the table a header"):
        read_table(write(tmp_path, rows("0.3,0.4", header="0.1,0.2")))
    names = ",".join(f"V{i}" for i in range(300))
    with pytest.raises(InputFileError, match=r"found V0, .*V9 and 290 more; name it by --time-col"):
        read_table(write(tmp_path, rows(",".join("1" * 300), header=names)))
