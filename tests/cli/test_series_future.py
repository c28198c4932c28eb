"""`--future` and `--covariate` as a user calls them: what is used, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from titans_seq.cli import main
from titans_seq.estimators import TitansForecaster

ROWS, HORIZON = 900, 24
SHORT = ("--max-lookback", 48)


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def sales(rows: int, *, first: int = 0, shops: tuple[str, ...] = ("north", "south")) -> pl.DataFrame:
    """Hourly sales with a spike of 8 wherever there is a promotion."""
    frames = []
    for number, shop in enumerate(shops):
        random = np.random.default_rng(number)
        promo = (random.random(2000) < 0.05).astype(int)
        noise = random.standard_normal(2000)
        t = np.arange(first, first + rows)
        stamps = np.datetime64("2024-01-01T00", "us") + t * np.timedelta64(1, "h")
        sold = 10 + 3 * np.sin(2 * np.pi * t / 24) + 8 * promo[t] + 0.3 * noise[t]
        frames.append(pl.DataFrame({"shop": shop, "ds": stamps, "sold": sold, "promo": promo[t]}))
    return pl.concat(frames)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    sales(ROWS).write_csv(tmp_path / "sales.csv")
    sales(HORIZON, first=ROWS).drop("sold").write_csv(tmp_path / "future.csv")
    return tmp_path


def test_a_promotion_known_in_advance_is_forecast(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tables / "f.csv"
    call_it = ("forecast", tables / "sales.csv", "--target-col", "sold", "--horizon", HORIZON, *SHORT)
    assert call(*call_it, "--future", tables / "future.csv", "-o", out) == 0
    assert "future promo" in capsys.readouterr().err
    frame, truth = pl.read_csv(out, try_parse_dates=True), sales(HORIZON, first=ROWS)
    with_it = float(np.abs(frame["titans"].to_numpy() - truth["sold"].to_numpy()).mean())
    assert truth["promo"].sum() > 0
    assert call(*call_it, "-o", out) == 0
    without = float(np.abs(pl.read_csv(out)["titans"].to_numpy() - truth["sold"].to_numpy()).mean())
    assert with_it < 0.5
    assert with_it < 0.6 * without


def test_missing_pairs_are_named(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    future = sales(HORIZON, first=ROWS).drop("sold")
    stamp = pl.datetime(2024, 2, 7, 15)
    future.filter(~((pl.col("shop") == "south") & (pl.col("ds") >= stamp))).write_csv(tables / "future.csv")
    state = tables / "s.state"
    call_it = ("forecast", tables / "sales.csv", "--horizon", HORIZON, "--state", state)
    assert call(*call_it, "--future", tables / "future.csv") == 2
    said = capsys.readouterr()
    assert "21 of the 48 rows to be forecast are missing or lack 'promo'" in said.err
    assert "(south, 2024-02-07 15:00:00), (south, 2024-02-07 16:00:00)" in said.err
    assert "and 18 more" in said.err
    assert said.out == ""
    assert not state.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.with_columns(sold=pl.lit(1.0)), "holds the target 'sold', which nobody knows"),
        (lambda frame: frame.rename({"promo": "prom"}), "did you mean 'promo'"),
        (lambda frame: frame.drop("promo"), "expected columns beside id and time"),
        (lambda frame: frame.rename({"ds": "when"}), "the time 'ds'"),
        (lambda frame: frame.with_columns(promo=pl.lit("yes")), "line 2: column 'promo'; expected a number"),
        (lambda frame: frame.with_columns(promo=pl.lit(None, pl.Int64)), "48 of the 48 rows"),
    ],
)  # fmt: skip
def test_what_a_table_of_the_future_may_not_be(
    tables: Path, change: object, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tables / "future.csv"
    change(sales(HORIZON, first=ROWS).drop("sold")).write_csv(path)  # type: ignore[operator]
    arguments = ("forecast", tables / "sales.csv", "--target-col", "sold", "--horizon", HORIZON, "--future", path)
    assert call(*arguments) == 2
    assert words in capsys.readouterr().err


def test_state_observe_and_a_run_go_on_with_covariates(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state, run = tables / "s.state", tables / "run"
    first = ("forecast", tables / "sales.csv", "--target-col", "sold", "--horizon", HORIZON, *SHORT, "--state", state)
    assert call(*first, "--future", tables / "future.csv") == 0
    sales(30, first=ROWS).write_csv(tables / "new.csv")
    sales(HORIZON, first=ROWS + 30).drop("sold").write_csv(tables / "later.csv")
    assert call("observe", tables / "new.csv", "--state", state) == 0
    capsys.readouterr()
    assert call("forecast", "--state", state) == 2
    assert "this model needs 'promo' of the next 24 rows: give them by --future" in capsys.readouterr().err
    assert call("forecast", "--state", state, "--future", tables / "later.csv") == 0
    frame = pl.read_csv(capsys.readouterr().out.encode())
    truth = sales(HORIZON, first=ROWS + 30)["sold"].to_numpy()
    assert np.abs(frame["titans"].to_numpy() - truth).mean() < 0.5
    trained = ("train-series", tables / "sales.csv", "--target-col", "sold", "--covariate", "promo")
    assert call(*trained, "--horizon", HORIZON, "--out", run, "--set", "series.max_lookback=48") == 0
    capsys.readouterr()
    assert call("forecast", tables / "sales.csv", "--model", run, "--future", tables / "future.csv") == 0
    frame = pl.read_csv(capsys.readouterr().out.encode())
    assert np.abs(frame["titans"].to_numpy() - sales(HORIZON, first=ROWS)["sold"].to_numpy()).mean() < 0.5


def test_a_calendar_without_ids_holds_for_every_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(3)
    closed = (random.random(ROWS + HORIZON) < 0.06).astype(int)
    closed[ROWS + 5 : ROWS + 8] = 1
    table = sales(ROWS).drop("promo").with_columns(closed=pl.Series(np.tile(closed[:ROWS], 2)))
    table = table.with_columns(sold=pl.col("sold") - 9 * pl.col("closed"))
    table.write_csv(tmp_path / "t.csv")
    stamps = sales(HORIZON, first=ROWS, shops=("north",))["ds"]
    pl.DataFrame({"ds": stamps, "closed": closed[ROWS:]}).write_csv(tmp_path / "calendar.csv")
    call_it = ("forecast", tmp_path / "t.csv", "--horizon", HORIZON, *SHORT)
    assert call(*call_it, "--future", tmp_path / "calendar.csv") == 0
    said = capsys.readouterr()
    assert "future closed" in said.err
    path = pl.read_csv(said.out.encode())["titans"].to_numpy().reshape(2, HORIZON)
    assert path[:, closed[ROWS:] == 1].mean() < path[:, closed[ROWS:] == 0].mean() - 5


def test_a_backtest_takes_covariates_as_known_and_says_what_each_arm_is(
    tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("backtest", tables / "sales.csv", "--target-col", "sold", "--horizon", HORIZON, "--n-windows", 6, *SHORT)
    assert call(*common, "--covariate", "promo", "--out", tables / "with") == 0
    text = capsys.readouterr().out
    assert "titans_frozen: carried, but the weights never solved again" in text
    assert call(*common, "--out", tables / "without") == 0
    maes = [json.loads((tables / name / "report.json").read_text())["rows"][0]["mae"] for name in ("with", "without")]
    assert maes[0] < 0.6 * maes[1]


def test_the_estimator_takes_frames_of_the_future() -> None:
    forecaster = TitansForecaster(HORIZON, max_lookback=96, target_col="sold", covariates=("promo",))
    forecaster.fit(sales(ROWS))
    future = sales(HORIZON, first=ROWS)
    found = forecaster.predict(future=future.drop("sold"))["titans"].to_numpy()
    assert np.abs(found - future["sold"].to_numpy()).mean() < 0.5
