"""Pooling while reading equals pooling afterwards, for regions that overlap, nest, touch and lie in gaps."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from titans_seq.errors import UnknownNameError
from titans_seq.streaming.pool import LEAST, POOLS, Pool
from titans_seq.streaming.reader import Part

LENGTH, WIDTH = 200, 3
GAP = (120, 140)
REGIONS = np.array(
    [(0, 200), (0, 10), (5, 15), (10, 20), (10, 11), (50, 130), (121, 125), (130, 160), (139, 140), (120, 140),
     (190, 200), (7, 9), (60, 62)]
)  # fmt: skip


@pytest.fixture(scope="module")
def bases() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    tokens = random.integers(0, 4, LENGTH).astype(np.uint8)
    tokens[60:62] = 4
    loss = random.exponential(size=LENGTH).astype(np.float32)
    loss[tokens == 4] = np.nan
    loss[[0, GAP[1]]] = np.nan
    loss[3] = 0
    return {"tokens": tokens, "loss": loss, "vectors": random.normal(size=(LENGTH, WIDTH)).astype(np.float32)}


def parts(bases: dict[str, np.ndarray], strand: str, size: int) -> list[Part]:
    """What a reader gives: no bases of the gap, in the order of reading."""
    cuts = [
        (at, min(at + size, end)) for start, end in ((0, GAP[0]), (GAP[1], LENGTH)) for at in range(start, end, size)
    ]
    found = []
    for start, end in cuts:
        cut = slice(start, end)
        found.append(
            Part(
                0, "c", start, end, strand, tokens=bases["tokens"][cut], vectors=bases["vectors"][cut],
                logits=np.zeros((end - start, 4), np.float32), loss=bases["loss"][cut], surprise=None, write=None,
                forget=None, ends=False,
            )
        )  # fmt: skip
    return found if strand == "+" else found[::-1]


def expected(bases: dict[str, np.ndarray], how: str, strand: str, start: int, end: int) -> np.ndarray:
    """The definition, base by base."""
    at = [t for t in range(start, end) if not GAP[0] <= t < GAP[1] and bases["tokens"][t] < 4]
    if not at:
        return np.full(WIDTH, np.nan)
    vectors = bases["vectors"][at].astype(np.float64)
    if how == "mean":
        return vectors.mean(0)
    if how == "max":
        return vectors.max(0)
    if how == "last":
        return vectors[-1 if strand == "+" else 0]
    weights = [log(4) if np.isnan(x) else max(float(x), LEAST) for x in bases["loss"][at]]
    return np.average(vectors, axis=0, weights=weights)


def pooled(pool: Pool, some: list[Part]) -> dict[int, np.ndarray]:
    return dict([pair for part in some for pair in pool.add(part)] + pool.finish())


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize("how", POOLS)
def test_pooling_is_its_definition(bases: dict[str, np.ndarray], how: str, strand: str) -> None:
    for size in (1, 7, 64, 200):
        pool = Pool(how, width=WIDTH, strand=strand, start=REGIONS[:, 0], end=REGIONS[:, 1])
        found = pooled(pool, parts(bases, strand, size))
        assert sorted(found) == list(range(len(REGIONS)))
        for number, (start, end) in enumerate(REGIONS):
            wanted = expected(bases, how, strand, start, end)
            np.testing.assert_allclose(found[number], wanted, rtol=1e-6, atol=1e-6, err_msg=f"{start}-{end}")


def test_a_region_is_given_as_soon_as_it_ends(bases: dict[str, np.ndarray]) -> None:
    pool = Pool("mean", width=WIDTH, strand="+", start=REGIONS[:, 0], end=REGIONS[:, 1])
    first, *rest = parts(bases, "+", 12)
    assert sorted(number for number, _ in pool.add(first)) == [1, 4, 11]
    assert sorted(number for number, _ in pool.add(rest[0])) == [2, 3]


@pytest.mark.parametrize("how", POOLS)
def test_stopped_and_gone_on_is_bit_for_bit_the_same(bases: dict[str, np.ndarray], how: str) -> None:
    def make() -> Pool:
        return Pool(how, width=WIDTH, strand="-", start=REGIONS[:, 0], end=REGIONS[:, 1])

    wanted = pooled(make(), parts(bases, "-", 9))
    for cut in (1, 5, 11):
        first, second, all_parts = make(), make(), parts(bases, "-", 9)
        found = dict(pair for part in all_parts[:cut] for pair in first.add(part))
        second.restore(*first.state())
        found |= pooled(second, all_parts[cut:])
        assert all(np.array_equal(found[n], wanted[n], equal_nan=True) for n in wanted)


def test_an_unknown_way_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'mean'"):
        Pool("meen", width=1, strand="+", start=np.zeros(1, np.int64), end=np.ones(1, np.int64))
