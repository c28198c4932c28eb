"""Averages by class over common bases, and sentences that do not flatter."""

from __future__ import annotations

import numpy as np
import pytest

from titans_seq.training.results import class_sizes, gain, on_common_bases, table_rows, verdict

NAMES = ("intergenic", "CDS", "rRNA")


def row(*bits: float) -> np.ndarray:
    return np.array(bits, dtype=np.float32)


def test_rows_average_the_bases_that_all_have() -> None:
    table = on_common_bases({"a": row(1, 2, np.nan, 3), "b": row(2, 2, 2, 6)})
    classes = np.array([0, 1, 1, 1], dtype=np.uint8)
    rows = table_rows(table, classes=classes, class_names=NAMES)
    assert [found["name"] for found in rows] == ["a", "b"]
    assert [found["all"] for found in rows] == pytest.approx([2, 10 / 3])
    assert rows[0]["classes"] == pytest.approx({"intergenic": 1, "CDS": 2.5})
    assert class_sizes(table["a"], classes=classes, class_names=NAMES) == {"intergenic": 1, "CDS": 2}
    assert table_rows(table, classes=None, class_names=NAMES)[0]["classes"] == {}


def test_a_gain_is_positive_where_the_arm_is_better() -> None:
    found = gain(np.full(4000, 1.8, dtype=np.float32), np.full(4000, 1.9, dtype=np.float32))
    assert found["gain"] == pytest.approx(0.1, abs=1e-6)
    assert found["error"] == pytest.approx(0, abs=1e-6)
    assert gain(row(1.0), row(2.0))["error"] is None


@pytest.mark.parametrize(
    ("size", "words"),
    [(0.01, "saves 0.0100"), (-0.01, "costs 0.0100"), (0.001, "makes no difference (+0.0010 +- 0.0010")],
)
def test_the_verdict_is_honest(size: float, words: str) -> None:
    sentence = verdict({"reset": {"gain": size, "error": 0.001}, "off": {"gain": 0.0, "error": None}})
    assert words in sentence
    assert "too few bases for an error" in sentence
