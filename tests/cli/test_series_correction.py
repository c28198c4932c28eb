"""A memory pretrained on many series, as a user meets it: trained, read into new ids, observed, undone, backtested."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.cli.test_series import call
from titans_seq.errors import ConfigError
from titans_seq.estimators.forecaster import TitansForecaster

TINY = "{variant: mag, memory: gated_deltanet, d_model: 16, n_layers: 1, n_heads: 2, chunk_size: 4, window: 4}"
SETTINGS = {"steps": 40, "look_steps": 20, "rows": 8, "length": 16, "learning_rate": 0.01, "encoder": TINY}
PATTERN = np.array([1, 1, -1, 1, -1, -1, -1, 1.0])


def table(names: range, *, first: int = 0, last: int = 150) -> pl.DataFrame:
    """Series that repeat a pattern of 24 rows, each from another place on: a lookback of six does not tell where."""
    parts = []
    for number in names:
        t = np.arange(150)
        line = 10 + 2 * PATTERN[(t // 3 + number) % 8] + 0.2 * np.random.default_rng(number).normal(size=150)
        stamps = np.datetime64("2024-01-01T00", "us") + t * np.timedelta64(1, "h")
        rows = {"unique_id": [f"s{number}"] * (last - first), "ds": stamps[first:last], "y": line[first:last]}
        parts.append(pl.DataFrame(rows))
    return pl.concat(parts)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    table(range(24)).write_csv(folder / "many.csv")
    sets = [f"series.correction.{key}={value}" for key, value in SETTINGS.items()]
    sets += ["series.lookbacks=[6]", "series.parts=[]", "series.seasons=[6]"]
    assert (
        call(
            "train-series", folder / "many.csv", "--horizon", 8, "--correction", "always", "--out", folder / "run",
            *(word for text in sets for word in ("--set", text)),
        )
        == 0
    )  # fmt: skip
    return folder / "run"


def forecast(*arguments: object, out: Path) -> pl.DataFrame:
    assert call("forecast", *arguments, "-o", out) == 0
    return pl.read_csv(out, try_parse_dates=True)


def test_the_report_says_what_it_was_worth(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    found = report["correction"]
    assert found["ships"] in ("memory", "twin")
    assert found["learned"] == 20
    assert found["held"] == 4
    assert found["nets"]["memory"]["error"] < 0.8 * found["beneath"]
    assert set(found["arms"]) == {"carried", "reset", "off"}


def test_new_ids_are_read_from_their_first_row_and_observed_in_any_cut(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = range(100, 104)
    for name, first, last in (("a", 0, 120), ("b", 120, 121), ("c", 121, 142), ("whole", 0, 142), ("later", 120, 142)):
        table(new, first=first, last=last).write_csv(tmp_path / f"{name}.csv")
    state, fork, out = tmp_path / "s.state", tmp_path / "fork.state", tmp_path / "f.csv"
    first = forecast(tmp_path / "a.csv", "--model", run, "--state", state, out=out)
    assert "with" in capsys.readouterr().err
    assert first["unique_id"].unique(maintain_order=True).to_list() == ["s100", "s101", "s102", "s103"]
    fork.write_bytes(state.read_bytes())
    for name in ("b", "c"):
        assert call("observe", tmp_path / f"{name}.csv", "--state", state) == 0
    assert call("observe", tmp_path / "later.csv", "--state", fork) == 0
    cut, one = (forecast("--state", path, out=out) for path in (state, fork))
    for column in ("titans", "titans-lo-90", "titans-hi-90"):
        np.testing.assert_allclose(cut[column], one[column], atol=1e-4)
    truth = table(new, first=142, last=150)["y"].to_numpy()
    error = np.abs(cut["titans"].to_numpy() - truth).mean()
    inside = (truth >= cut["titans-lo-90"].to_numpy()) & (truth <= cut["titans-hi-90"].to_numpy())
    assert inside.mean() > 0.6
    beneath = json.loads((run / "report.json").read_text())["correction"]
    assert error < 0.85 * np.abs(truth - np.median(truth)).mean() or error < beneath["beneath"]
    assert call("observe", "--undo", 2, "--state", state) == 0
    again = forecast("--state", state, out=out)
    np.testing.assert_array_equal(again["titans"], first["titans"])
    assert call("observe", tmp_path / "later.csv", "--state", state) == 0
    back = forecast("--state", state, "--as-of", str(first["ds"][0] - first["ds"].diff()[1]), out=out)
    np.testing.assert_array_equal(back["titans"], first["titans"])


def test_the_estimator_goes_on_from_such_a_state(run: Path, tmp_path: Path) -> None:
    table(range(100, 103), last=120).write_csv(tmp_path / "new.csv")
    state, out = tmp_path / "s.state", tmp_path / "f.csv"
    forecast(tmp_path / "new.csv", "--model", run, "--state", state, out=out)
    later = table(range(100, 103), first=120, last=131)
    later.write_csv(tmp_path / "later.csv")
    found = TitansForecaster.load(state).observe(later).predict()
    assert call("observe", tmp_path / "later.csv", "--state", state) == 0
    np.testing.assert_allclose(found["titans"], forecast("--state", state, out=out)["titans"], atol=1e-6)
    with pytest.raises(ConfigError, match="too few to hold some out"):
        TitansForecaster(horizon=8, correction="always").fit(later)


def test_a_state_that_was_changed_is_refused_in_a_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(range(100, 102)).write_csv(tmp_path / "new.csv")
    forecast(tmp_path / "new.csv", "--model", run, "--state", tmp_path / "s.state", out=tmp_path / "f.csv")
    table(range(9), last=140).write_csv(tmp_path / "other.csv")
    assert call("train-series", tmp_path / "other.csv", "--horizon", 8, "--out", tmp_path / "other") == 0
    capsys.readouterr()
    assert call("forecast", "--state", tmp_path / "s.state", "--model", tmp_path / "other") == 2
    said = capsys.readouterr().err
    assert "belongs to model" in said
    assert len(said.strip().splitlines()) == 1


def test_a_backtest_shows_the_arms_of_the_memory(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(range(100, 106)).write_csv(tmp_path / "new.csv")
    out = tmp_path / "bt"
    assert call("backtest", tmp_path / "new.csv", "--model", run, "--n-windows", 5, "--step-size", 3, "--out", out) == 0
    rows = {row["name"]: row for row in json.loads((out / "report.json").read_text())["rows"]}
    assert rows["titans"]["mae"] < 0.85 * rows["uncorrected"]["mae"]
    if json.loads((run / "report.json").read_text())["correction"]["ships"] == "memory":
        assert {"memory_reset", "memory_off"} <= set(rows)
        assert rows["memory_off"]["mae"] != rows["titans"]["mae"]
    assert "uncorrected: the forecast beneath" in capsys.readouterr().out
    assert call("backtest", tmp_path / "new.csv", "--model", run, "--refit", "--out", tmp_path / "no") == 2
    assert call("backtest", tmp_path / "new.csv", "--model", run, "--horizon", 4, "--out", tmp_path / "no") == 2


def test_few_series_cannot_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(range(3)).write_csv(tmp_path / "few.csv")
    out = tmp_path / "run"
    assert call("train-series", tmp_path / "few.csv", "--horizon", 8, "--correction", "always", "--out", out) == 2
    said = capsys.readouterr().err
    assert "too few to hold some out; it needs 12" in said
    assert not out.exists()


def test_a_backtest_takes_series_that_end_at_different_times(run: Path, tmp_path: Path) -> None:
    pl.concat([table(range(100, 102)), table(range(102, 104), last=100)]).write_csv(tmp_path / "new.csv")
    out = tmp_path / "bt"
    assert call("backtest", tmp_path / "new.csv", "--model", run, "--n-windows", 3, "--step-size", 7, "--out", out) == 0
    frame = pl.read_csv(out / "forecasts.csv", try_parse_dates=True)
    ends = frame.group_by("unique_id").agg(pl.col("ds").max()).sort("unique_id")["ds"]
    assert ends[0] == ends[1] > ends[2] == ends[3]
