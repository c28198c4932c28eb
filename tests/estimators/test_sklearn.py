"""scikit-learn's own checks, and what people do with a transformer: clone, pipelines, grids, folds, frames."""

from __future__ import annotations

import pickle
from typing import Any

import joblib
import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from titans_seq import TitansEmbedder

TINY = {"d_model": 8, "n_layers": 1, "batch_size": 4}

# Checks that are waived, each with its reason. There are none: what is not applicable (targets, sample weights,
# predictions) scikit-learn leaves out by itself, and the array-API check skips itself unless SCIPY_ARRAY_API is set.
WAIVED: dict[str, str] = {}


@parametrize_with_checks([TitansEmbedder(**TINY)], expected_failed_checks=lambda estimator: WAIVED)
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def waves() -> tuple[np.ndarray, np.ndarray]:
    """Series of two frequencies, at random phases."""
    random = np.random.default_rng(0)
    y = np.arange(40) % 2
    phase = random.uniform(0, 6, (40, 1))
    return np.sin(np.arange(48) * (0.3 + 0.4 * y[:, None]) + phase) + random.normal(0, 0.1, (40, 48)), y


def test_parameters_and_clone() -> None:
    embedder = TitansEmbedder(**TINY, pool="max")
    assert embedder.get_params() | {"pool": "max"} == embedder.get_params()
    assert clone(embedder).get_params() == embedder.get_params()
    assert embedder.set_params(pool="last").pool == "last"
    assert not hasattr(clone(embedder), "task_")
    with pytest.raises(NotFittedError):
        embedder.transform([[1.0]])


def test_pipeline_grid_and_processes(waves: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = waves
    chain = make_pipeline(TitansEmbedder(**TINY), LogisticRegression(max_iter=500))
    grid = GridSearchCV(chain, {"titansembedder__pool": ["mean", "last"]}, cv=3, n_jobs=2)
    grid.fit(X, y)
    assert grid.best_score_ > 0.9
    scores = cross_val_score(clone(chain).set_params(titansembedder__pool="mean"), X, y, cv=3)
    of_mean = grid.cv_results_["params"].index({"titansembedder__pool": "mean"})
    assert scores.mean() == pytest.approx(grid.cv_results_["mean_test_score"][of_mean])


def test_pickle_and_joblib(waves: tuple[np.ndarray, np.ndarray], tmp_path: Any) -> None:
    X, _ = waves
    fitted = TitansEmbedder(**TINY, steps=2).fit(X)
    vectors = fitted.transform(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(X), vectors)
    joblib.dump(fitted, tmp_path / "e.joblib")
    np.testing.assert_array_equal(joblib.load(tmp_path / "e.joblib").transform(X), vectors)


def test_names_and_frames(waves: tuple[np.ndarray, np.ndarray]) -> None:
    X, _ = waves
    frame = pl.DataFrame(X, schema=[f"t{step}" for step in range(X.shape[1])])
    fitted = TitansEmbedder(**TINY).set_output(transform="polars").fit(frame)
    assert fitted.feature_names_in_.tolist() == frame.columns
    assert fitted.n_features_in_ == 48
    vectors = fitted.transform(frame)
    assert isinstance(vectors, pl.DataFrame)
    assert vectors.columns == [f"titansembedder{i}" for i in range(8)] == fitted.get_feature_names_out().tolist()
    np.testing.assert_array_equal(vectors.to_numpy(), TitansEmbedder(**TINY).fit_transform(X))
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(frame.rename({"t0": "x"}))
