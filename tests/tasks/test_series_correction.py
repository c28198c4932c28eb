"""A shipped correction: tokens know no later row, any cut is one pass, files, arms, intervals of corrected paths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from titans_seq.errors import InputFileError, StateMismatchError
from titans_seq.models import Encoder
from titans_seq.tasks.series_correction import SeriesCorrection
from titans_seq.tasks.series_files import Snapshot, load_model, save_model
from titans_seq.tasks.series_recipe import Recipe
from titans_seq.tasks.series_residual import SeriesResidual
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_state import SeriesState
from titans_seq.tasks.series_tokens import token_width
from titans_seq.timeseries import Clock, Names, Panel, Series

PATCH, HORIZON, LOOKBACK, SEASON = 3, 8, 12, 6
LEVELS = np.array([0.05, 0.5, 0.95])


def correction(memory: str = "titans_lmm", *, gate: float = 0.7) -> SeriesCorrection:
    torch.manual_seed(0)
    encoder = Encoder(variant="mag", memory=memory, d_model=16, n_layers=2, n_heads=2, window=4, chunk_size=4)
    width = token_width(horizon=HORIZON, patch=PATCH, seasons=(SEASON,))
    task = SeriesResidual(encoder=encoder, features=width, horizon=HORIZON)
    torch.nn.init.normal_(task.head.weight, std=0.3)
    return SeriesCorrection(task.eval(), patch=PATCH, gate=gate)


@pytest.fixture(scope="module")
def model() -> SeriesModel:
    recipe = Recipe(HORIZON, LOOKBACK, (SEASON,), ("profile 6",))
    weights = np.random.default_rng(1).normal(size=(recipe.width, HORIZON)) / LOOKBACK
    none = np.zeros((0, 0))
    quantiles = np.array([-1.5, 0.0, 1.5])[:, None] * np.ones(HORIZON)
    return SeriesModel(
        recipe=recipe, clock=Clock("us", 3_600_000_000, 0), channels=("y",), tracks=("a", "b"), mean=np.zeros(2),
        deviation=np.ones(2), weights=weights, levels=LEVELS, quantiles=quantiles, method="structured ridge", every=0,
        gram=none, cross=none, learned=0, correction=correction(),
    )  # fmt: skip


def values(rows: int = 90, *, seed: int = 0) -> np.ndarray:
    t = np.arange(rows)
    return np.sin(2 * np.pi * t / SEASON) + np.random.default_rng(seed).normal(size=rows) * 0.4


def panel(first: int = 0, last: int = 90, *, changed: int | None = None, names: str = "new") -> Panel:
    """Three series, one of which begins later, one with a gap."""
    series = []
    for number, name in enumerate(names):
        begin = 5 * number
        line = values(90 + begin, seed=number)[begin:]
        line[40:44] = np.nan if number == 1 else line[40:44]
        if changed is not None:
            line[changed - begin :] += 3
        start, stop = max(first, begin), last
        part = line[start - begin : stop - begin]
        ticks = 3_600_000_000 * np.arange(start, stop)
        series.append(Series(name, start, ticks, part[:, None], np.empty((len(part), 0))))
    return Panel(tuple(series), Clock("us", 3_600_000_000, 0), ("y",))


def begun(model: SeriesModel) -> SeriesState:
    return model.begin(panel())


def test_the_correction_of_a_token_by_the_plain_definition(model: SeriesModel) -> None:
    """At a row that closes a token, and at one that does not: the same encoder over tokens laid out one by one."""
    assert model.correction is not None
    for last in (60, 61):
        state = model.advance(begun(model), panel(0, last))
        plain = replace(model, correction=None)
        added = (model.path(state) - plain.path(state)) / state.deviation[:, None]
        rows = [*range(PATCH, last + 1, PATCH), *([last] if last % PATCH else [])]
        features = []
        for row in rows:  # of the first series, which begins at row 0
            alone = plain.advance(begun(model), panel(0, row, names="n"))
            token = token_of(plain, alone)
            features.append(token[0])
            size = token[1]
        with torch.no_grad():
            y, _ = model.correction.task(torch.tensor(np.array(features))[None])
        np.testing.assert_allclose(added[0], 0.7 * size * y[0, -1].numpy(), rtol=1e-4, atol=1e-5)


def token_of(model: SeriesModel, state: SeriesState) -> tuple[np.ndarray, float]:
    """The token of the first track's last row, written down anew."""
    rows, numbers = int(state.rows[0]), state.numbers[0]

    def path_of(back: int) -> tuple[np.ndarray, np.ndarray]:
        x, mean = model.design(state, np.array([0]), numbers[None], np.array([len(numbers) - 1 - back]))
        return (x @ state.weights + mean)[0, 0], x[0, 0, :LOOKBACK]

    path, lookback = path_of(0)
    line = numbers[:, 0]
    mean = line[-LOOKBACK:].mean()
    unit = lookback.std()
    width = float(np.sqrt(state.scale[0] * state.quick[0])) if state.scale[0] else float(state.quick[0])
    width = width or unit

    def error(back: int) -> np.ndarray:
        if rows <= back:
            return np.zeros(back)
        known = state.known[0, len(line) - back :]
        return np.where(known, line[len(line) - back :] - path_of(back)[0][:back], 0)

    def patched(path: np.ndarray) -> np.ndarray:
        return np.array([path[at : at + PATCH].mean() for at in range(0, HORIZON, PATCH)])

    angle = 2 * np.pi * ((int(state.position[0])) % SEASON) / SEASON
    parts = [
        (line[-PATCH:] - mean) / unit, (patched(path) - mean) / unit, error(PATCH) / width,
        patched(error(HORIZON)) / width, [np.log(width / unit)], [np.sin(angle)], [np.cos(angle)],
    ]  # fmt: skip
    return np.clip(np.concatenate(parts), -8, 8).astype(np.float32), width


@pytest.mark.parametrize(
    ("cuts", "names"), [((30, 31, 47, 90), "new"), ((1, 2, 3, 50, 52, 90), "n"), ((17, 64, 90), "new")]
)
def test_any_cut_is_one_pass(model: SeriesModel, cuts: tuple[int, ...], names: str) -> None:
    whole = model.advance(model.begin(panel(names=names)), panel(names=names))
    state, at = model.begin(panel(names=names)), 0
    for cut in cuts:
        state = model.advance(state, panel(at, cut, names=names))
        at = cut
    np.testing.assert_allclose(model.path(state), model.path(whole), atol=1e-5)
    for level in (0.05, 0.95):
        found, wanted = (model.quantile(s, model.path(s), level) for s in (state, whole))
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    for name, array in whole.memory.items():
        np.testing.assert_allclose(state.memory[name], array, atol=1e-4, err_msg=name)
    assert state.nbytes == whole.nbytes == model.begin(panel(names=names)).nbytes


@pytest.mark.parametrize("row", [50, 61, 75])
def test_nothing_knows_a_later_row(model: SeriesModel, row: int) -> None:
    """Forecasts, widths and what the memory holds at a row are those without any later row, whatever it is."""
    told: dict[bool, list[np.ndarray]] = {False: [], True: []}

    def listen(which: bool) -> None:
        def realised(tracks: np.ndarray, positions: np.ndarray, errors: np.ndarray, edges: np.ndarray) -> None:
            before = positions < row
            told[which].append(np.nan_to_num(errors[before]))
            told[which].append(edges[before])

        model.advance(begun(model), panel(changed=row if which else None), realised=realised)

    listen(False)
    listen(True)
    for one, other in zip(told[False], told[True], strict=True):
        np.testing.assert_array_equal(one, other)


def test_intervals_follow_the_errors_of_corrected_paths(model: SeriesModel) -> None:
    """What `advance` tells is actual minus corrected path, for the paths made at tokens, a horizon after them."""
    errors = {}

    def realised(tracks: np.ndarray, positions: np.ndarray, found: np.ndarray, edges: np.ndarray) -> None:
        for track, position, error in zip(tracks, positions, found, strict=True):
            errors.update({(int(track), int(at)): one for at, one in zip(position, error, strict=True)})

    model.advance(begun(model), panel(), realised=realised)
    line = values()
    for origin in (20, 44, 59):
        state = model.advance(begun(model), panel(0, origin + 1))
        expected = (line[origin + 1 : origin + 1 + HORIZON] - model.path(state)[0]) / state.deviation[0]
        found = errors[0, origin + HORIZON]
        assert (origin + 1) % PATCH == 0
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert np.isnan(errors[0, origin + 1 + HORIZON]).all()


def test_a_state_goes_through_a_file_and_a_model_through_its(model: SeriesModel, tmp_path: Path) -> None:
    state = model.advance(begun(model), panel(0, 50))
    save_model(tmp_path / "m", model, names=Names())
    loaded, _ = load_model(tmp_path / "m")
    assert loaded.fingerprint == model.fingerprint
    Snapshot(model, state, Names()).save(tmp_path / "s")
    again = Snapshot.load(tmp_path / "s", model=loaded)
    for one in (again.state, state):
        (again.model if one is again.state else model).advance(one, panel(50, 90))
    np.testing.assert_array_equal(again.model.path(again.state), model.path(state))
    other = replace(model, correction=correction("gated_deltanet"))
    with pytest.raises(StateMismatchError, match="belongs to model"):
        Snapshot.load(tmp_path / "s", model=other)
    assert other.fingerprint != model.fingerprint
    assert replace(model, correction=correction(gate=0.5)).fingerprint != model.fingerprint


def test_a_file_of_a_later_version_is_refused_in_a_line(model: SeriesModel, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("titans_seq.tasks.series_files.VERSION", 5)
    save_model(tmp_path / "m", model, names=Names())
    monkeypatch.undo()
    with pytest.raises(InputFileError, match=r"expected version 4 or older, found version 5; update titans-seq"):
        load_model(tmp_path / "m")


def test_a_series_of_another_size_and_level_is_corrected_alike(model: SeriesModel) -> None:
    lines = panel()
    moved = lines.replace([replace(series, values=1000 * series.values + 7e4) for series in lines])
    one, other = (model.path(model.advance(model.begin(p), p)) for p in (lines, moved))
    np.testing.assert_allclose((other - 7e4) / 1000, one, atol=1e-3)


def test_arms_differ_and_the_reset_one_forgets(model: SeriesModel) -> None:
    assert model.correction is not None
    found = {}
    for arm in ("carried", "reset", "off"):
        arms = replace(model, correction=model.correction.with_arm(arm))
        found[arm] = arms.path(arms.advance(begun(arms), panel()))
    assert not np.allclose(found["carried"], found["off"])
    assert not np.allclose(found["carried"], found["reset"])
    reset = replace(model, correction=model.correction.with_arm("reset"))
    cut = reset.begin(panel())
    for first, last in ((0, 33), (33, 70), (70, 90)):
        reset.advance(cut, panel(first, last))
    np.testing.assert_allclose(reset.path(cut), found["reset"], atol=1e-5)


def test_a_track_without_rows_and_one_without_a_token(model: SeriesModel) -> None:
    rows = panel(0, 30)
    empty = Series("q", 10, rows.series[0].ticks[10:], np.full((20, 1), np.nan), np.empty((20, 0)))
    late = Series("z", 28, rows.series[0].ticks[28:], np.array([[1.0], [2.0]]), np.empty((2, 0)))
    some = rows.replace([*rows.series, empty, late])
    path = model.path(model.advance(model.begin(some), some))
    assert np.isnan(path[3]).all()
    assert np.isfinite(path[[0, 1, 2, 4]]).all()
