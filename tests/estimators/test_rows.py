"""A row's vector is its own: alone or among others, in any order and company, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from titans_seq import TitansEmbedder
from titans_seq.errors import UnknownNameError
from titans_seq.estimators.series import Scale

TINY = {"d_model": 16, "n_layers": 2, "batch_size": 4}


def bases(*lengths: int) -> list[str]:
    random = np.random.default_rng(1)
    return ["".join(random.choice(list("ACGT"), length)) for length in lengths]


def series() -> np.ndarray:
    values = np.random.default_rng(2).normal(size=(9, 50))
    values[3, 10:30] = np.nan
    values[4] = np.nan
    return values


# 1,100 bases are read in several calls; 40 and 41 are padded to the same length.
MANY = bases(40, 41, 300, 5, 1, 1100, 40, 64, 33)


@pytest.mark.parametrize(
    ("kind", "pool"),
    [("sequences", "mean"), ("sequences", "attention"), ("series", "mean"), ("series", "last"), ("ragged", "max")],
)
def test_alone_among_others_and_in_any_order(kind: str, pool: str) -> None:
    rows = {"sequences": MANY, "series": series(), "ragged": [row[: 20 + 3 * i] for i, row in enumerate(series())]}[
        kind
    ]
    fitted = TitansEmbedder(**TINY, pool=pool, strand="both" if kind == "sequences" else "+").fit(rows)
    together = fitted.transform(rows)
    assert together.shape == (9, 16)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    for number in range(9):
        np.testing.assert_array_equal(fitted.transform(rows[number : number + 1])[0], together[number])
    order = np.random.default_rng(3).permutation(9)
    shuffled = rows[order] if isinstance(rows, np.ndarray) else [rows[i] for i in order]
    np.testing.assert_array_equal(fitted.transform(shuffled), together[order])


def test_scaled_by_its_past_no_row_knows_a_later_one() -> None:
    rows = series()
    rows[0, :2] = 1, 3
    scaled = Scale.of("past", [row[:, None] for row in rows]).apply(rows[0][:, None])
    np.testing.assert_array_equal(scaled[:2, 0], [0, 1])
    np.testing.assert_allclose(scaled[-1, 0], (rows[0, -1] - rows[0].mean()) / rows[0].std(), rtol=1e-6)
    fitted = TitansEmbedder(**TINY, scale="past", pool="max", patch=2).fit(rows)
    far = 1e6 + 1e-3 * rows
    np.testing.assert_allclose(fitted.transform(far), fitted.transform(rows), atol=1e-3)
    with pytest.raises(UnknownNameError, match="pool of series"):
        TitansEmbedder(**TINY, pool="attention").fit(rows)


def test_rows_side_by_side_change_the_rounding_only() -> None:
    few = TitansEmbedder(**TINY).fit(MANY).transform(MANY)
    many = TitansEmbedder(**{**TINY, "batch_size": 16}).fit(MANY).transform(MANY)
    np.testing.assert_allclose(few, many, atol=1e-5)


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("kind", ["sequences", "series"])
def test_the_test_fold_leaves_no_trace(kind: str, steps: int) -> None:
    """What is fitted on a fold is the same whatever else there is, and whatever was drawn before."""
    rows = MANY[:4] if kind == "sequences" else series()
    made = TitansEmbedder(**TINY, steps=steps)
    np.random.default_rng(0).normal()
    first = made.fit(rows).transform(rows)
    made.transform(rows[::-1])
    np.testing.assert_array_equal(made.transform(rows), first)
    np.testing.assert_array_equal(TitansEmbedder(**TINY, steps=steps).fit(rows).transform(rows), first)
    other = TitansEmbedder(**TINY, steps=steps, random_state=1).fit(rows).transform(rows)
    assert not np.allclose(other, first)


def test_no_row_reads_another_rows_memory() -> None:
    """The same sequence twice in one batch, once behind another: the vectors are equal."""
    one, two = bases(64, 64)
    found = TitansEmbedder(**TINY).fit_transform([one, two, one, two, one])
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[0], found[4])
    assert not np.allclose(found[0], found[1])
