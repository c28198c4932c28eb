"""What the commands on series say about input that cannot be read: one line, and nothing is written."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from titans_seq.cli import main

STAMPS = [f"2024-01-{1 + i // 24:02d} {i % 24:02d}:00" for i in range(100)]
ROWS = [f"{stamp},{np.sin(i / 4) + i % 7 / 10:.3f}" for i, stamp in enumerate(STAMPS)]


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def table(*rows: str, header: str = "ds,y") -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line; nothing may stand on standard output, and no traceback before it."""
    text = capsys.readouterr()
    assert text.out == ""
    assert "Traceback" not in text.err
    return text.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (table("1,2", "3,4", header="a,b"), "no time column"),
        (table(*(f"{s},{s},1" for s in STAMPS), header="date,time,y"), "'date' and 'time' could both be the time"),
        (table(*ROWS, *ROWS[5:7]), "line 102: the same time stands in line 7 already (2 such rows); give --duplicates"),
        (
            table(*(f"{s}+01:00,1" for s in STAMPS[:50]), *(f"{s}+02:00,1" for s in STAMPS[50:])),
            "line 52: the same time stands in line 51 already (1 such rows); with its offset it is 2024-01-03T00:00:00",
        ),
        (
            table(*ROWS[:50], *(f"{s}+02:00,1" for s in STAMPS[50:])),
            "line 52: column 'ds'; expected a stamp like those before it (%Y-%m-%d), found '2024-01-03 02:00+02:00'",
        ),
        (table(*ROWS[:50], "yesterday,1", *ROWS[51:]), "line 52: column 'ds'; expected a stamp like those before it"),
        (table(*(f"{i},1" for i in range(2000)), "x,1", header="t,y"), "line 2002: column 't'; expected a stamp"),
        (table(*ROWS[:50], f"{STAMPS[50]},inf"), "line 52: column 'y'; expected a number, found 'inf'; an infinite"),
        (
            table(*ROWS[:50], f"{STAMPS[50]},1e300"),
            "line 52: column 'y'; expected a number, found '1e300'; numbers",
        ),
        (table(*ROWS[:50], f"{STAMPS[50]},broken"), "line 52: column 'y'; expected a number, found 'broken'"),
        (table(*(r.replace(",", ";").replace(".", ",") for r in ROWS), header="ds;y"), "give --decimal-comma"),
        (table(*(r.replace(".", ",") for r in ROWS)), "line 2: expected 2 cells, as in the header, found 3"),
        (table(ROWS[0]), "one row is no history"),
        (table(*ROWS[:5]), "a horizon of 6 rows is longer than the history of 5; ask for at most 4"),
        (table(*(f"{s}," for s in STAMPS)), "the series 'y' holds no number"),
        (table(), "expected rows below the header, found none"),
        (b"", "the file is empty; expected a header and rows"),
        (b"\n\n", "its first line is empty; expected a header and rows"),
        (b"\0" * 1000, "line 1: expected a table as CSV or Parquet, found binary data"),
        (bytes(range(128, 256)) * 9, "line 1: expected text in UTF-8"),
        (table(*ROWS).decode().encode("utf-16"), "found UTF-16: save it as UTF-8, e.g. iconv"),
        (table(*ROWS).decode().encode("utf-16-le"), "found binary data, or text in UTF-16; save it as CSV in UTF-8"),
        (table(*ROWS, header="ds,°C").decode().encode("latin1"), "line 1: expected text in UTF-8, found the byte 0xb0"),
        (b"PK\x03\x04" + table(*ROWS), "found a ZIP archive or a workbook: unpack it"),
        (gzip.compress(table(*ROWS))[:-60], "Compressed file ended before the end-of-stream marker"),
        (table(*ROWS)[:-10], "line 101: column 'ds'; expected a stamp like those before it"),
    ],
)
def test_the_line_that_is_said(tmp_path: Path, content: bytes, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    files = ("-o", tmp_path / "f.csv", "--state", tmp_path / "s.state", "--plot", tmp_path / "p.png")
    assert call("forecast", tmp_path / "t.csv", "--horizon", 6, *files) == 2
    assert words in said(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("content", [table(*ROWS), table(*ROWS).decode().encode("utf-8-sig"), table(*ROWS, "", "")])
def test_byte_order_marks_and_blank_lines_change_nothing(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, data in (("a.csv", table(*ROWS)), ("b.csv", content)):
        (tmp_path / name).write_bytes(data)
    found = []
    for name in ("a.csv", "b.csv"):
        assert call("forecast", tmp_path / name, "--horizon", 3, "--max-lookback", 8) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("-o", "o.xlsx", "expected a name ending in .csv or .parquet"),
        ("-o", "none/o.csv", "no such folder to write in; create"),
        ("--plot", "p.jpg", "expected a name ending in .png"),
        ("--plot", "none/p.png", "no such folder to write in; create"),
        ("--state", "none/s.state", "no such folder to write in; create"),
        ("--state", ".", "is a folder; expected the name of a file"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_read(
    tmp_path: Path, option: str, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("forecast", tmp_path / "not-there.csv", option, tmp_path / name) == 2
    assert words in said(capsys)


def test_a_read_only_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write anywhere: what the system answers about a read-only folder is put in its mouth.
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    (tmp_path / "t.csv").write_bytes(table(*ROWS))
    assert call("forecast", tmp_path / "t.csv", "--horizon", 3, "-o", tmp_path / "o.csv") == 1
    assert "is read-only; give another one" in said(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_ctrl_c_leaves_nothing_and_the_old_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv").write_bytes(table(*ROWS[:90]))
    (tmp_path / "new.csv").write_bytes(table(*ROWS[90:]))
    state = tmp_path / "s.state"
    assert call("forecast", tmp_path / "t.csv", "--horizon", 3, "--max-lookback", 8, "--state", state) == 0
    capsys.readouterr()
    before, names = state.read_bytes(), sorted(tmp_path.rglob("*"))

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("titans_seq.tasks.series_ridge.SeriesModel.advance", interrupted)
    assert call("observe", tmp_path / "new.csv", "--state", state) == 130
    assert said(capsys) == "titans-seq: interrupted"
    monkeypatch.setattr("titans_seq.pipelines.forecast.forecast_frame", interrupted)
    assert call("forecast", tmp_path / "t.csv", "--horizon", 3, "-o", tmp_path / "o.csv") == 130
    assert said(capsys) == "titans-seq: interrupted"
    assert state.read_bytes() == before
    assert sorted(tmp_path.rglob("*")) == names


def test_observe_refuses_rows_that_do_not_go_on_and_keeps_the_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.csv").write_bytes(table(*ROWS[:90]))
    state = tmp_path / "s.state"
    assert call("forecast", tmp_path / "t.csv", "--horizon", 3, "--max-lookback", 8, "--state", state) == 0
    capsys.readouterr()
    before = state.read_bytes()
    new = tmp_path / "new.csv"
    for content, words in (
        (table(*ROWS), "rows out of order"),
        (table("2024-01-04 18:30,1"), "is not on the clock of 1h"),
        (table(*ROWS[90:], header="ds,load"), "unknown column"),
        (table(*(f"z,{row}" for row in ROWS[90:]), header="unique_id,ds,y"), "unknown series of this state 'z'"),
        (table(*ROWS[90:95], f"{STAMPS[95]},x"), "line 7: column 'y'"),
    ):
        new.write_bytes(content)
        assert call("observe", new, "--state", state) == 2
        assert words in said(capsys)
        assert state.read_bytes() == before
    (tmp_path / "cut.state").write_bytes(before[:2000])
    assert call("observe", new, "--state", tmp_path / "cut.state") == 2
    assert "expected a safetensors file" in said(capsys)


def test_a_series_without_numbers_is_named_and_the_others_are_forecast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its forecast is empty until `observe` brings its first number, whatever its size; any cut gives the same."""
    both = [f"a,{row}" for row in ROWS[:80]] + [f"b,{stamp}," for stamp in STAMPS[:80]]
    (tmp_path / "t.csv").write_bytes(table(*both, header="unique_id,ds,y"))
    (tmp_path / "a.csv").write_bytes(table(*both[:80], header="unique_id,ds,y"))
    state = tmp_path / "s.state"
    short = ("--horizon", 3, "--max-lookback", 8)
    assert call("forecast", tmp_path / "a.csv", *short, "-o", tmp_path / "alone.csv") == 0
    assert call("forecast", tmp_path / "t.csv", *short, "-o", tmp_path / "o.csv", "--state", state) == 0
    line = "the series 'b' holds no number; forecasts are empty there until `observe` brings the first"
    assert capsys.readouterr().err.count(line) == 1
    found, alone = pl.read_csv(tmp_path / "o.csv"), pl.read_csv(tmp_path / "alone.csv")
    assert found["unique_id"].to_list() == ["a"] * 3 + ["b"] * 3
    assert found["ds"][3:].to_list() == found["ds"][:3].to_list()
    assert found["titans"].is_null().to_list() == found["titans-lo-90"].is_null().to_list() == [False] * 3 + [True] * 3
    assert np.allclose(found["titans"][:3].to_numpy(), alone["titans"].to_numpy(), rtol=1e-6)
    size = [f"b,{row.split(',')[0]},{1000 * float(row.split(',')[1]):.1f}" for row in ROWS[80:]]
    size[0] = f"b,{STAMPS[80]},"
    last: dict[int, pl.DataFrame] = {}
    for cut in (1, 7):
        copy = tmp_path / f"{cut}.state"
        copy.write_bytes(state.read_bytes())
        for part in (slice(80, 80 + cut), slice(80 + cut, 100)):
            new = [f"a,{row}" for row in ROWS[part]] + size[part.start - 80 : part.stop - 80]
            (tmp_path / "new.csv").write_bytes(table(*new, header="unique_id,ds,y"))
            assert call("observe", tmp_path / "new.csv", "--state", copy) == 0
        assert call("forecast", "--state", copy, "-o", tmp_path / "o.csv") == 0
        last[cut] = pl.read_csv(tmp_path / "o.csv")
    assert last[1]["titans"].is_null().sum() == 0
    assert np.allclose(last[1]["titans"].to_numpy(), last[7]["titans"].to_numpy(), rtol=1e-8)
    assert last[1]["titans"][3:].abs().max() > 100 * last[1]["titans"][:3].abs().max()
    assert (
        call("backtest", tmp_path / "t.csv", *short, "--n-windows", 2, "--step-size", 3, "--out", tmp_path / "b") == 0
    )
    assert "left out, as they hold no number before the first window: 'b'" in capsys.readouterr().err
    assert call("train-series", tmp_path / "t.csv", "--horizon", 3, "--out", tmp_path / "run") == 0
    assert json.loads((tmp_path / "run" / "report.json").read_text())["without_numbers"] == ["b"]
