import numpy as np
import pytest

from titans_seq.errors import RangeError, ShapeError
from titans_seq.metrics import bits_by_class, bits_by_window, difference, mean_bits


def test_mean_leaves_out_what_is_nan() -> None:
    found = mean_bits(np.array([1.0, np.nan, 3.0]), block=2)
    assert (found.mean, found.bases) == (2.0, 2)
    assert np.isnan(mean_bits(np.full(3, np.nan)).mean)
    assert mean_bits(np.empty(0)).bases == 0


def test_error_over_blocks_is_that_of_their_means() -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(2, 0.1, 400)
    bits = np.repeat(means, 1000)
    found = mean_bits(bits)
    assert found.mean == pytest.approx(means.mean())
    assert found.error == pytest.approx(means.std(ddof=1) / 20)


def test_a_paired_difference_has_the_smaller_error() -> None:
    rng = np.random.default_rng(1)
    first = np.repeat(rng.normal(2, 0.1, 50), 1000) + rng.normal(0, 0.01, 50_000)
    second = first - 0.01
    found = difference(first, second)
    assert found.mean == pytest.approx(0.01)
    assert found.error < 1e-6 < mean_bits(first).error
    with pytest.raises(ShapeError):
        difference(first, second[1:])


def test_by_class() -> None:
    bits = np.array([1.0, 2.0, 3.0, np.nan])
    classes = np.array([0, 2, 2, 1], dtype=np.uint8)
    found = bits_by_class(bits, classes, names=("a", "b", "c"))
    assert {name: (mean.mean, mean.bases) for name, mean in found.items()} == {"a": (1.0, 1), "c": (2.5, 2)}
    with pytest.raises(RangeError, match="below 2"):
        bits_by_class(bits, classes, names=("a", "b"))
    with pytest.raises(ShapeError):
        bits_by_class(bits, classes[1:], names=("a", "b", "c"))


def test_by_window() -> None:
    bits = np.array([1.0, 3.0, np.nan, np.nan, 5.0])
    assert np.array_equal(bits_by_window(bits, window=2), [2.0, np.nan, 5.0], equal_nan=True)
    assert bits_by_window(np.empty(0), window=2).size == 0
    with pytest.raises(RangeError, match="at least 1"):
        bits_by_window(bits, window=0)
