"""A correction pretrained on many series: what is held out decides, few series are left alone, what ships is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from titans_seq.config.correction import CorrectionSection
from titans_seq.config.encoder import EncoderSection
from titans_seq.config.train_series import SeriesSection
from titans_seq.errors import ConfigError
from titans_seq.timeseries import Clock, Panel, Series
from titans_seq.training.residual_streams import ResidualRows
from titans_seq.training.series_correction import Data, Judged, Trial, describe_trial, fit_corrected

TINY = EncoderSection(variant="mag", memory="gated_deltanet", d_model=16, n_layers=1, n_heads=2, chunk_size=4, window=4)


def settings(**changes: object) -> SeriesSection:
    words = {"tried": "always", "steps": 30, "look_steps": 10, "rows": 8, "length": 16, "encoder": TINY,
             "learning_rate": 1e-2} | changes  # fmt: skip
    return SeriesSection(horizon=8, lookbacks=(12,), seasons=(6,), parts=(), correction=CorrectionSection(**words))


def many(count: int = 14, rows: int = 170) -> Panel:
    """Each series flips between two moods every so often; what its errors were tells which of two shapes comes."""
    series = []
    for number in range(count):
        random = np.random.default_rng(number)
        t = np.arange(rows)
        own = random.choice([-1.0, 1.0], size=4)[t // 3 % 4]  # a pattern of its own, twelve rows long
        line = 10 + 3 * np.sin(2 * np.pi * t / 6) + 2 * own + random.normal(size=rows) * 0.2
        series.append(Series(f"s{number}", 0, 3_600_000_000 * t, line[:, None], np.empty((rows, 0))))
    return Panel(tuple(series), Clock("us", 3_600_000_000, 0), ("y",))


@pytest.fixture(scope="module")
def tried() -> tuple[object, Trial]:
    fitted, trial = fit_corrected(many(), settings())
    assert trial is not None
    return fitted, trial


def test_held_out_series_decide(tried) -> None:  # type: ignore[no-untyped-def]
    fitted, trial = tried
    assert (trial.learned, trial.held) == (12, 2)
    assert set(trial.nets) == {"memory", "twin"}
    assert set(trial.arms) == {"carried", "reset", "off"}
    assert trial.arms["carried"] == pytest.approx(trial.nets["memory"].error)
    assert trial.nets["memory"].saved == pytest.approx(trial.beneath - trial.arms["carried"])
    passing = [kind for kind, net in trial.nets.items() if net.passes]
    assert (trial.ships is None) == (not passing)
    assert (fitted.model.correction is None) == (trial.ships is None)
    assert np.isfinite(fitted.model.path(fitted.state)).all()


def test_what_ships_stands_behind_the_last_row_and_has_quantiles_of_its_own() -> None:
    """A gate that always opens, so that there is something to look at."""
    panel = many()
    from unittest.mock import patch

    with patch.object(Judged, "passes", True), patch("titans_seq.training.series_correction.GATES", np.array([0, 1.0])):
        fitted, trial = fit_corrected(panel, settings(steps=4, look_steps=2))
    assert trial is not None
    assert trial.ships in ("memory", "twin")
    model = fitted.model
    assert model.correction is not None
    assert model.every == 0
    again = model.advance(model.begin(panel), panel)
    np.testing.assert_array_equal(again.rows, fitted.state.rows)
    np.testing.assert_array_equal(model.path(again), model.path(fitted.state))
    assert (np.diff(model.quantiles, axis=0) >= 0).all()
    assert model.quantiles[0].max() < 0 < model.quantiles[-1].min()


def test_the_plain_error_of_held_out_series_and_the_gate(tried) -> None:  # type: ignore[no-untyped-def]
    random = np.random.default_rng(0)
    rows = [
        ResidualRows(random.normal(size=(n, 9)).astype(np.float32), random.normal(size=(n, 4)).astype(np.float32),
                     np.ones(n, np.float32), np.ones(n, np.bool_)) for n in (40, 31)
    ]  # fmt: skip
    data = Data(rows, rows, patch=2, reach=7, settings=CorrectionSection(encoder=TINY))

    class Says:
        """Half of what is left, at every token."""

        kept = 0

        def begin(self, tracks: int) -> None:
            pass

        def read(self, carried: None, tracks: np.ndarray, number: int, tokens: object) -> np.ndarray:
            at = [np.minimum(2 * np.arange(1, 21) - 1, len(r) - 1) for r in rows]
            return np.stack([r.residuals[i] / 2 for r, i in zip(rows, at, strict=True)])

    expected = [np.abs(r.residuals[7::2]).mean() for r in rows]
    assert data.error(Says(), 0.0) == pytest.approx(np.mean(expected))  # type: ignore[arg-type]
    found = data.judge(Says())  # type: ignore[arg-type]
    assert found.gate == 1.0
    assert found.saved == pytest.approx(np.mean(expected) / 2)


@pytest.mark.parametrize(("count", "short"), [(5, 0), (14, 10)])
def test_what_cannot_be_trained_is_said(count: int, short: int) -> None:
    panel = many(count)
    panel = panel.replace([series.rows(0, 27 if i < short else 170) for i, series in enumerate(panel)])
    with pytest.raises(ConfigError, match=f"{count - short} series of more than 28 rows are too few to hold some out"):
        fit_corrected(panel, settings())
    assert fit_corrected(panel, settings(tried="auto", fewest_series=1))[1] is None


def test_a_state_that_would_fill_the_machine_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("titans_seq.training.series_correction.LARGEST_STATE", 10_000)
    with pytest.raises(ConfigError, match=r"a memory of each of 14 series would take 0\.0 GB; take a smaller encoder"):
        fit_corrected(many(), settings())
    assert fit_corrected(many(), settings(tried="auto", fewest_series=1))[1] is None


def test_few_series_are_left_alone_and_nothing_is_said() -> None:
    fitted, trial = fit_corrected(many(4, 120), settings(tried="auto"))
    assert trial is None
    assert fitted.model.correction is None
    assert describe_trial(trial) == []


def test_the_report_in_words() -> None:
    nets = {"memory": Judged(0.9, 0.7, 0.2, 0.01), "twin": Judged(1.0, 0.75, 0.15, 0.01)}
    trial = Trial(230, 46, 0.9, nets, {"carried": 0.7, "reset": 0.8, "off": 0.85}, "memory", {"memory": 1, "twin": 1})
    lines = describe_trial(trial)
    assert "0.7000 seasonal differences on 46 others, without it 0.9000 (saves 0.2000 +- 0.0100)" in lines[0]
    assert "reset 0.8000" in lines[2]
    assert "the memory ships" in lines[3]
    assert "no correction ships" in describe_trial(replace(trial, ships=None))[3]
