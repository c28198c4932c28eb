"""The ridge solved in slices: what it gives, when it comes into force, and that no cut changes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tasks.test_series_ridge import load, panel_of, rows_of
from titans_seq.config.train_series import SeriesSection
from titans_seq.tasks.series_files import Snapshot
from titans_seq.tasks.series_recipe import solve
from titans_seq.tasks.series_solve import Portions, SlicedSolve
from titans_seq.tensor_files import load_tensors, read_metadata, save_tensors
from titans_seq.training.series_fit import Fitted, fit_series

EVERY = 64


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    settings = SeriesSection(horizon=12, lookbacks=(24, 48), refit_every=EVERY)
    return fit_series(panel_of(load(1500, 2), ids=("a", "b")), settings)


@pytest.mark.parametrize("features", [1, 63, 64, 65, 200])
def test_slices_solve_the_ridge(features: int) -> None:
    random = np.random.default_rng(features)
    x, y = random.standard_normal((300, features)), random.standard_normal((300, 7))
    gram, cross = x.T @ x, x.T @ y
    weights = SlicedSolve(gram, cross, 10.0).finish()
    assert np.allclose(weights, solve(gram, cross, 10.0), rtol=1e-9, atol=1e-12)


def test_the_steps_give_the_same_bits_however_they_are_taken() -> None:
    x = np.random.default_rng(0).standard_normal((400, 150))
    whole = SlicedSolve(x.T @ x, x.T @ x[:, :9], 1.0)
    slices = SlicedSolve(x.T @ x, x.T @ x[:, :9], 1.0)
    for share in (0.1, 0.1, 0.35, 0.9):
        slices.advance(share)
    assert 0 < slices.done < slices.steps
    assert (whole.finish() == slices.finish()).all()


def test_portions_by_hand() -> None:
    portions = Portions(20)  # eight portions of two rows, the last of six
    assert [portions.at(row) for row in (0, 1, 2, 13, 14, 19, 20)] == [0, 0, 1, 6, 7, 7, 8]
    assert [portions.first(portion) for portion in (0, 1, 7, 8, 9)] == [0, 2, 14, 20, 22]
    assert [portions.share(row) for row in (20, 21)] == [0.5, 1.0]
    assert [Portions(3).at(row) for row in range(5)] == [0, 1, 2, 3, 4]


def test_weights_come_into_force_behind_the_first_portion_from_the_sums_at_its_first_row(fitted: Fitted) -> None:
    model, state = fitted.model, fitted.state.clone()
    border = -(-1500 // EVERY) * EVERY
    panel = panel_of(load(200, 2, seed=3), ids=("a", "b"), start=1500)
    sums = None
    for row in range(1500, border + EVERY):
        before = state.weights.copy()
        model.advance(state, rows_of(panel, row - 1500, row - 1499))
        if row == border:
            sums = state.gram.copy(), state.cross.copy()
        changed = (before != state.weights).any()
        assert changed == (row == border + EVERY // 8)
        if changed:
            assert sums is not None
            assert np.allclose(state.weights, solve(*sums, model.recipe.penalty), rtol=1e-8, atol=1e-12)


def test_the_steps_are_spread_over_the_rows(fitted: Fitted) -> None:
    model, state = fitted.model, fitted.state.clone()
    border = -(-1500 // EVERY) * EVERY
    panel = panel_of(load(200, 2, seed=3), ids=("a", "b"), start=1500)
    model.advance(state, rows_of(panel, 0, border - 1500))
    done, steps = [0], 0
    for row in range(border, border + EVERY // 8):
        model.advance(state, rows_of(panel, row - 1500, row - 1499))
        assert state.solving is not None
        done.append(state.solving.done)
        steps = state.solving.steps
    assert done[-1] == steps
    assert np.diff(done).max() <= -(-steps // (EVERY // 8))


@pytest.mark.parametrize("cut", [1, EVERY // 8 - 1, EVERY // 8, 30])
def test_a_file_written_while_a_solution_is_under_way_goes_on_bit_for_bit(
    fitted: Fitted, cut: int, tmp_path: Path
) -> None:
    border = -(-1500 // EVERY) * EVERY - 1500
    panel = panel_of(load(200, 2, seed=4), ids=("a", "b"), start=1500)
    state = fitted.model.advance(fitted.state.clone(), rows_of(panel, 0, border + cut))
    Snapshot(fitted.model, state, panel.names).save(tmp_path / "s.state")
    again = Snapshot.load(tmp_path / "s.state")
    rest = rows_of(panel, border + cut, 200)
    assert (fitted.model.advance(state, rest).weights == again.model.advance(again.state, rest).weights).all()


def test_a_state_of_version_2_is_read(fitted: Fitted, tmp_path: Path) -> None:
    """It counted whole blocks, and its weights were in force from the first row of one."""
    path = tmp_path / "s.state"
    Snapshot(fitted.model, fitted.state, panel_of(load(3)).names).save(path)
    header = json.loads(read_metadata(path)["titans_seq"]) | {"version": 2}
    tensors = load_tensors(path)
    for name in ("portion", "quick", "tried"):
        del tensors[f"state.{name}"]
    del header["fresh"]
    tensors["state.block"] = torch.tensor([1499 // EVERY])
    save_tensors(path, tensors, metadata={"titans_seq": json.dumps(header)})
    old = Snapshot.load(path)
    assert old.state.portion == 1499 // EVERY * 8 + 1
    assert old.model.fresh == 0  # its quantiles are in units of the scale of whole paths
    panel = panel_of(load(200, 2, seed=5), ids=("a", "b"), start=1500)
    new = fitted.model.advance(fitted.state.clone(), panel)
    assert np.allclose(old.model.advance(old.state, panel).weights, new.weights, rtol=1e-8, atol=1e-12)
