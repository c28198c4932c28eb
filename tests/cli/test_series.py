"""`forecast`, `observe`, `train-series`, `backtest` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from titans_seq.cli import main


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def hours(rows: int, *, first: int = 0, seed: int = 0) -> pl.DataFrame:
    t = np.arange(first, first + rows)
    noise = np.random.default_rng(seed).standard_normal(20_000)[t]
    stamps = np.datetime64("2024-01-01T00", "us") + t * np.timedelta64(1, "h")
    return pl.DataFrame({"when": stamps, "load": 20 + 5 * np.sin(2 * np.pi * t / 24) + np.cos(t / 60) + noise * 0.3})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    hours(700).write_csv(tmp_path / "load.csv")
    return tmp_path / "load.csv"


def test_forecast_needs_nothing_but_a_table(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("forecast", data, "--horizon", 24) == 0
    said = capsys.readouterr()
    frame = pl.read_csv(said.out.encode(), try_parse_dates=True)
    assert frame.columns == ["unique_id", "ds", "titans", "titans-lo-90", "titans-hi-90"]
    assert frame["unique_id"].unique().to_list() == ["load"]
    assert str(frame["ds"][0]) == "2024-01-30 04:00:00"
    assert len(frame) == 24
    assert "time 'when'" in said.err
    assert "it beats the best baseline" in said.err
    truth = hours(24, first=700)["load"].to_numpy()
    assert np.abs(frame["titans"].to_numpy() - truth).mean() < 0.6
    inside = (truth >= frame["titans-lo-90"].to_numpy()) & (truth <= frame["titans-hi-90"].to_numpy())
    assert inside.mean() > 0.6


def test_forecast_writes_table_picture_and_state_and_observe_goes_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, out, plot = tmp_path / "s.state", tmp_path / "f.parquet", tmp_path / "f.png"
    assert (
        call(
            "forecast", data, "--horizon", 12, "--level", 80, "--level", 95, "--state", state, "-o", out, "--plot", plot
        )
        == 0
    )
    assert pl.read_parquet(out).columns[2:] == [
        "titans",
        "titans-lo-95",
        "titans-lo-80",
        "titans-hi-80",
        "titans-hi-95",
    ]
    assert plot.read_bytes()[:4] == b"\x89PNG"
    hours(50, first=700).write_csv(tmp_path / "new.csv")
    hours(20, first=750).write_csv(tmp_path / "newer.csv")
    hours(70, first=700).write_csv(tmp_path / "both.csv")
    fork = tmp_path / "fork.state"
    fork.write_bytes(state.read_bytes())
    assert call("observe", tmp_path / "new.csv", "--state", state) == 0
    assert call("observe", tmp_path / "newer.csv", "--state", state) == 0
    assert call("observe", tmp_path / "both.csv", "--state", fork) == 0
    frames = []
    for path in (state, fork):
        assert call("forecast", "--state", path, "-o", out) == 0
        frames.append(pl.read_parquet(out))
    difference = frames[0].select(pl.col(pl.Float64)) - frames[1].select(pl.col(pl.Float64))
    assert max(abs(column).max() for column in difference.get_columns()) < 1e-8  # type: ignore[type-var]
    capsys.readouterr()
    assert call("observe", tmp_path / "new.csv", "--state", state) == 2
    assert "rows out of order" in capsys.readouterr().err
    assert call("observe", "--undo", 2, "--state", state) == 0
    assert "2024-01-30 03:00:00" in capsys.readouterr().out
    assert call("observe", "--undo", 1, "--state", state) == 2
    assert "0 earlier states" in capsys.readouterr().err


def test_as_of_forgets_later_rows(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hours(600).write_csv(tmp_path / "short.csv")
    assert call("forecast", data, "--horizon", 6, "--as-of", "2024-01-25 23:00") == 0
    first = capsys.readouterr().out
    assert call("forecast", tmp_path / "short.csv", "--horizon", 6) == 0
    assert capsys.readouterr().out == first
    assert call("forecast", data, "--horizon", 6, "--as-of", "soon") == 2


def test_train_series_then_forecast_with_the_run(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert call("train-series", data, "--horizon", 12, "--out", run, "--set", "series.max_lookback=96") == 0
    assert {path.name for path in run.iterdir()} >= {
        "config.yaml",
        "run.json",
        "model.safetensors",
        "state.safetensors",
    }
    report = json.loads((run / "report.json").read_text())
    assert report["method"] in ("ridge", "structured ridge")
    capsys.readouterr()
    assert call("forecast", data, "--model", run) == 0
    assert len(capsys.readouterr().out.splitlines()) == 13
    assert call("forecast", data, "--model", run, "--horizon", 13) == 2
    assert "train one for more" in capsys.readouterr().err
    assert call("train-series", data, "--out", run) == 2
    assert "holds a run; give another --out" in capsys.readouterr().err


def test_backtest_prints_baselines_and_writes_a_table(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bt"
    assert call("backtest", data, "--horizon", 12, "--n-windows", 5, "--out", out) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("titans", "last_value", "seasonal_naive", "drift", "ridge", "WQL"))
    frame = pl.read_csv(out / "forecasts.csv", try_parse_dates=True)
    assert frame.columns[:5] == ["unique_id", "ds", "cutoff", "y", "titans"]
    assert len(frame) == 60
    assert (frame["ds"] > frame["cutoff"]).all()
    truth = hours(700)
    joined = frame.join(truth, left_on="ds", right_on="when", how="left")
    assert np.allclose(joined["y"].to_numpy(), joined["load"].to_numpy())
    report = json.loads((out / "report.json").read_text())
    mae = float(np.abs(frame["y"].to_numpy() - frame["titans"].to_numpy()).mean())
    assert report["rows"][0]["mae"] == pytest.approx(mae)
    assert {path.name for path in out.glob("*.png")} == {"windows.png", "steps.png", "calibration.png"}


def test_a_backtest_shows_every_arm_of_the_carried_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    t = np.arange(2000)
    random = np.random.default_rng(2)
    stamps = np.datetime64("2024-01-01T00", "us") + t * np.timedelta64(1, "h")
    weekly = random.standard_normal(168)[t % 168] + 0.3 * random.standard_normal(2000)
    pl.DataFrame({"ds": stamps, "y": weekly}).write_csv(tmp_path / "t.csv")
    common = ("backtest", tmp_path / "t.csv", "--horizon", 24, "--n-windows", 14, "--max-lookback", 48)
    assert call(*common, "--out", tmp_path / "bt") == 0
    text = capsys.readouterr().out
    rows = {row["name"]: row["mae"] for row in json.loads((tmp_path / "bt" / "report.json").read_text())["rows"]}
    for arm in ("titans_reset", "titans_off", "titans_shuffled"):
        assert rows["titans"] < 0.8 * rows[arm]
        assert f"\n{arm}: " in text
    assert rows["titans_frozen"] == pytest.approx(rows["titans"], rel=0.1)
    assert rows["titans_frozen"] != rows["titans"]


def test_utilsforecast_reads_a_backtest_unchanged(data: Path, tmp_path: Path) -> None:
    evaluation = pytest.importorskip("utilsforecast.evaluation", reason="needs the extra 'baselines'")
    losses = pytest.importorskip("utilsforecast.losses")
    out = tmp_path / "bt"
    assert call("backtest", data, "--horizon", 12, "--n-windows", 3, "--out", out) == 0
    frame = pl.read_csv(out / "forecasts.csv", try_parse_dates=True)
    found = evaluation.evaluate(
        frame, [losses.mae, losses.coverage], models=["titans"], level=[90]
    )  # fmt: skip
    report = json.loads((out / "report.json").read_text())
    mae = found.filter(pl.col("metric") == "mae")["titans"].mean()
    assert mae == pytest.approx(report["rows"][0]["mae"])
    assert found.filter(pl.col("metric") == "coverage_level90")["titans"].mean() == pytest.approx(
        report["intervals"][0]["coverage"]
    )


@pytest.mark.parametrize(
    ("rows", "horizon", "words"),
    [
        (["2024-01-01,1"], 3, "one row is no history"),
        ([f"2024-01-{day:02d},{day}" for day in range(1, 11)], 30, "ask for at most 9"),
        ([f"2024-01-{day:02d}," for day in range(1, 11)], 3, "holds no number"),
    ],
)
def test_what_cannot_be_forecast_is_said(
    tmp_path: Path, rows: list[str], horizon: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.csv").write_text("\n".join(["ds,y", *rows, ""]))
    assert call("forecast", tmp_path / "t.csv", "--horizon", horizon) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""


def test_a_constant_and_a_short_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.csv").write_text("\n".join(["ds,y", *(f"2024-01-{day:02d},5" for day in range(1, 31)), ""]))
    assert call("forecast", tmp_path / "c.csv", "--horizon", 3) == 0
    assert capsys.readouterr().out.splitlines()[1] == "y,2024-01-31,5.0,5.0,5.0"
    (tmp_path / "s.csv").write_text("ds,y\n2024-01-01,1\n2024-01-02,2\n2024-01-03,4\n2024-01-04,3\n")
    assert call("forecast", tmp_path / "s.csv", "--horizon", 2) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_different_lengths_and_missing_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long, short = hours(600), hours(200, first=300, seed=1)
    long = long.with_columns(pl.when(pl.int_range(600) % 50 < 3).then(None).otherwise(pl.col("load")).alias("load"))
    table = pl.concat([long.with_columns(unique_id=pl.lit("long")), short.with_columns(unique_id=pl.lit("short"))])
    table.write_csv(tmp_path / "t.csv")
    assert call("forecast", tmp_path / "t.csv", "--horizon", 24) == 0
    frame = pl.read_csv(capsys.readouterr().out.encode(), try_parse_dates=True)
    assert frame.null_count().sum_horizontal().item() == 0
    first = frame.group_by("unique_id", maintain_order=True).agg(pl.col("ds").first())
    assert [str(stamp) for stamp in first["ds"]] == ["2024-01-26 00:00:00", "2024-01-21 20:00:00"]
