"""Averages by class, differences with their spread, and sentences that do not flatter."""

from __future__ import annotations

import numpy as np
import pytest

from titans_seq.training.results import class_sizes, difference, scored_bases, table_rows, verdict

NAT = np.float32(np.log(2))


def costs(*bits: float) -> np.ndarray:
    return np.array(bits, dtype=np.float32) * NAT


def test_rows_average_the_bases_that_all_have() -> None:
    table = {"a": costs(1, 2, np.nan, 3), "b": costs(2, 2, 2, 6)}
    scored = scored_bases(table)
    assert scored.tolist() == [True, True, False, True]
    classes = np.array([0, 1, 1, 1], dtype=np.uint8)
    names = ("intergenic", "CDS", "rRNA")
    rows = table_rows(table, scored=scored, classes=classes, class_names=names)
    assert [row["name"] for row in rows] == ["a", "b"]
    assert rows[0]["all"] == pytest.approx(2)
    assert rows[0]["classes"] == pytest.approx({"intergenic": 1, "CDS": 2.5})
    assert class_sizes(scored, classes=classes, class_names=names) == {"intergenic": 1, "CDS": 2}


def test_a_difference_has_the_spread_of_its_blocks() -> None:
    first = np.repeat(costs(1.8, 1.9, 1.8, 1.9), 1024)
    second = np.full(4096, 1.9, dtype=np.float32) * NAT
    found = difference(first, second, scored=np.ones(4096, dtype=bool))
    assert found["gain"] == pytest.approx(0.05, abs=1e-6)
    assert found["error"] == pytest.approx(0.1 / np.sqrt(3) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("gain", "word"), [(0.01, "saves 0.0100"), (-0.01, "costs 0.0100"), (0.001, "makes no difference")]
)
def test_the_verdict_is_honest(gain: float, word: str) -> None:
    sentence = verdict({"reset": {"gain": gain, "error": 0.001}, "off": {"gain": 0.0, "error": 0.0}})
    assert word in sentence
    assert sentence.endswith("makes no difference (+0.0000 +- 0.0000 bits per base)")
