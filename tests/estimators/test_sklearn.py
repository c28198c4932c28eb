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
    """Calm series and wild ones."""
    y = np.arange(24) % 2
    return np.random.default_rng(0).normal(size=(24, 48)) * (1 + 4 * y[:, None]), y


def test_parameters_and_clone() -> None:
    embedder = TitansEmbedder(**TINY, pool="max")
    assert embedder.get_params() | {"pool": "max"} == embedder.get_params()
    assert clone(embedder).get_params() == embedder.get_params()
    assert embedder.set_params(pool="last").pool == "last"
    assert not hasattr(clone(embedder), "task_")
    with pytest.raises(NotFittedError):
        embedder.transform([[1.0]])


def searched(X: np.ndarray, y: np.ndarray, *, n_jobs: int) -> GridSearchCV:
    chain = make_pipeline(TitansEmbedder(**TINY), LogisticRegression(max_iter=500))
    return GridSearchCV(chain, {"titansembedder__pool": ["mean", "max"]}, cv=3, n_jobs=n_jobs).fit(X, y)


def test_pipeline_and_grid(waves: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = waves
    grid = searched(X, y, n_jobs=1)
    assert grid.best_score_ > 0.9
    alone = clone(grid.estimator).set_params(titansembedder__pool="max")
    of_max = grid.cv_results_["params"].index({"titansembedder__pool": "max"})
    assert cross_val_score(alone, X, y, cv=3).mean() == grid.cv_results_["mean_test_score"][of_max]


@pytest.mark.slow
def test_grid_over_processes(waves: tuple[np.ndarray, np.ndarray]) -> None:
    one, two = (searched(*waves, n_jobs=jobs).cv_results_["mean_test_score"] for jobs in (1, 2))
    np.testing.assert_array_equal(one, two)


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
