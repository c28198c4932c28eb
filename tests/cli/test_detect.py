"""`titans-seq detect` on small tables: the files it writes, a state that goes on, and one line for each wrong call."""

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from titans_seq.cli import main
from titans_seq.cli.group import group


def write_table(path: Path, rows: range, *, header: str = "stamp,load") -> Path:
    values = np.random.default_rng(0).normal(size=2000)
    values[1500] = 30.0
    stamps = np.datetime64("2024-01-01T00:00") + np.arange(2000) * np.timedelta64(1, "h")
    lines = [f"{str(stamps[row]).replace('T', ' ')}:00,{values[row]:.6f}" for row in rows]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def call(*arguments: str | Path) -> str:
    found = CliRunner().invoke(group, ["detect", *map(str, arguments)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["detect", *map(str, arguments)])
    assert ended.value.code == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("titans-seq: ")]
    return line


def test_rows_intervals_and_a_picture(tmp_path: Path) -> None:
    table = write_table(tmp_path / "load.csv", range(2000))
    out = tmp_path / "scores.csv"
    text = call(table, "-o", out, "--alpha", "0.01", "--smooth", "5", "--plot", tmp_path / "p.png")
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert len(rows) == 2000
    assert list(rows[0]) == ["unique_id", "stamp", "load", "score", "p_value", "flag"]
    assert rows[1500]["stamp"] == "2024-03-03 12:00:00"
    assert rows[1500]["flag"] == "true"
    intervals = list(csv.DictReader((tmp_path / "scores-intervals.csv").read_text().splitlines()))
    assert any(one["start"] <= rows[1500]["stamp"] <= one["end"] for one in intervals)
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    assert "alpha 1.000%" in text


def test_a_state_goes_on_and_equals_one_pass(tmp_path: Path) -> None:
    whole = write_table(tmp_path / "all.csv", range(2000))
    first, second = write_table(tmp_path / "1.csv", range(1234)), write_table(tmp_path / "2.csv", range(1234, 2000))
    state = tmp_path / "line.state"
    call(whole, "-o", tmp_path / "all-scores.csv", "--alpha", "0.01")
    call(first, "-o", tmp_path / "1-scores.csv", "--alpha", "0.01", "--state", state)
    call(second, "-o", tmp_path / "2-scores.csv", "--state", state)
    parts = [(tmp_path / f"{part}-scores.csv").read_text().splitlines() for part in (1, 2)]
    assert parts[0] + parts[1][1:] == (tmp_path / "all-scores.csv").read_text().splitlines()


def test_the_same_rows_twice_are_refused_and_the_state_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, state = write_table(tmp_path / "1.csv", range(300)), tmp_path / "s"
    call(table, "-o", tmp_path / "o.csv", "--state", state)
    before = state.read_bytes()
    assert "rows out of order" in refused(capsys, table, "-o", tmp_path / "o2.csv", "--state", state)
    assert state.read_bytes() == before
    assert not (tmp_path / "o2.csv").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "pcca"), "unknown method 'pcca'; did you mean"),
        (("--alpha", "0"), "alpha between 0 and 1"),
        (("--alpha", "0.001", "--calibration", "50"), "needs at least 1000 calibration rows"),
        (("--plot", "p.gif"), "name ending in .png"),
        (("--target-col", "laod"), "laod"),
    ],
)
def test_wrong_options_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    table = write_table(tmp_path / "load.csv", range(50))
    assert words in refused(capsys, table, "-o", tmp_path / "o.csv", *options)
    assert not (tmp_path / "o.csv").exists()


def test_a_state_keeps_what_it_was_begun_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "s"
    call(write_table(tmp_path / "1.csv", range(100)), "-o", tmp_path / "o.csv", "--state", state, "--alpha", "0.01")
    more = write_table(tmp_path / "2.csv", range(100, 200))
    words = refused(capsys, more, "-o", tmp_path / "o.csv", "--state", state, "--alpha", "0.02")
    assert "was begun with alpha 0.01, but the call asks for 0.02" in words
    other = write_table(tmp_path / "3.csv", range(100, 200), header="stamp,wind")
    assert "expected the targets load, found wind" in refused(capsys, other, "-o", tmp_path / "o.csv", "--state", state)


def test_short_constant_and_missing_series_are_written_without_flags(tmp_path: Path) -> None:
    table = tmp_path / "wide.csv"
    days = np.datetime64("2024-01-01") + np.arange(40)
    lines = [f"{day},3,{'' if i % 3 else i}" for i, day in enumerate(days)]
    table.write_text("\n".join(["day,flat,gaps", *lines]) + "\n")
    call(table, "-o", tmp_path / "o.parquet", "--wide")
    import polars as pl

    rows = pl.read_parquet(tmp_path / "o.parquet")
    assert rows.height == 80
    assert not rows["flag"].any()
    assert rows["score"].null_count() == rows["value" if "value" in rows.columns else "y"].null_count()


def test_a_missing_folder_is_said_before_an_hour_is_spent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "load.csv", range(50))
    assert "no such folder" in refused(capsys, table, "-o", tmp_path / "none" / "o.csv")
