"""Costs per base do not depend on rows, length or neighbours; the arms cut the same bases in four ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from titans_seq.tasks import NextBase, Piece, nats_per_base, score_pieces
from titans_seq.training.arms import Held, gather, limit, pieces_of
from titans_seq.training.evaluate import call_length

Make = Callable[..., Any]
CUT = {"window": 32, "lead_in": 8, "piece": 64, "carry_bases": None}


@pytest.fixture
def fetch(genome: dict[str, np.ndarray]) -> Callable[[str, int, int], np.ndarray]:
    return lambda name, start, end: genome[name][start:end]


@torch.no_grad()
def one_pass(task: NextBase, tokens: np.ndarray) -> np.ndarray:
    """The costs of bases 1 ... of a stream read in one call."""
    block = torch.from_numpy(tokens.astype(np.int64))[None]
    logits, _ = task(block[:, :-1])
    known = block[:, 1:] < 4
    costs = nats_per_base(logits, block[:, 1:], known)
    return torch.where(known, costs, torch.nan)[0].numpy()


@pytest.mark.parametrize(("rows", "length"), [(1, 8), (2, 16), (5, 64), (3, 512)])
def test_every_cut_gives_the_same_costs(
    make_task: Make, genome: dict[str, np.ndarray], fetch: Any, rows: int, length: int
) -> None:
    task = make_task()
    pieces = [
        Piece("one", 0, 300, 100),
        Piece("two", 0, 130, 1),
        Piece("one", 40, 43, 42),
        Piece("two", 45, 70, 46),
        Piece("one", 299, 300, 300),
    ]
    results = score_pieces(task, pieces, fetch, rows=rows, length=length)
    for piece, costs in zip(pieces, results, strict=True):
        whole = one_pass(task, genome[piece.contig][piece.start : piece.stop]) if len(costs) else np.zeros(0)
        expected = whole[piece.keep - piece.start - 1 :]
        np.testing.assert_allclose(costs, expected, atol=1e-5)
    assert task.training


def test_unknown_bases_have_no_cost(make_task: Make, fetch: Any) -> None:
    (costs,) = score_pieces(make_task(), [Piece("two", 0, 130, 1)], fetch, rows=1, length=16)
    assert np.isnan(costs[49:59]).all()
    assert np.isfinite(np.delete(costs, np.s_[49:59])).all()


def test_progress_counts_the_bases_read(make_task: Make, fetch: Any) -> None:
    read: list[int] = []
    score_pieces(
        make_task(), [Piece("one", 0, 300, 1), Piece("two", 0, 130, 1)], fetch, rows=2, length=64, progress=read.append
    )
    assert sum(read) == 430


@pytest.mark.parametrize("bad", [(5, 9, 5), (5, 9, 10), (5, 5, 5)])
def test_a_piece_must_make_sense(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="start < keep <= stop"):
        Piece("one", *bad)


@pytest.mark.parametrize("arm", ["carried", "within", "reset", "off"])
@pytest.mark.parametrize(
    ("held", "unscored"),
    [
        (Held("one", 100, 300), []),
        (Held("one", 0, 90), [0]),
        (Held("one", 100, 300, ((20, 40), (150, 170))), [*range(150, 171)]),
        (Held("one", 100, 300, ((90, 110), (290, 310))), [*range(100, 111), *range(290, 300)]),
    ],
)
def test_every_arm_scores_each_base_once(arm: str, held: Held, unscored: list[int]) -> None:
    (pieces,) = pieces_of(arm, [held], **CUT)
    joined = gather(held, pieces, [np.ones(p.stop - p.keep, dtype=np.float32) for p in pieces])
    missing = (np.flatnonzero(np.isnan(joined)) + held.start).tolist()
    assert missing == unscored
    assert sum(p.stop - p.keep for p in pieces) == held.length - len(unscored)


def test_what_each_arm_reads() -> None:
    held = [Held("one", 100, 164)]
    cuts = {arm: [(p.start, p.keep, p.stop) for p in pieces_of(arm, held, **CUT)[0]] for arm in ("carried", "within")}
    cuts["reset"] = [(p.start, p.keep, p.stop) for p in pieces_of("reset", held, **CUT)[0]]
    assert cuts == {
        "carried": [(0, 100, 164)],
        "within": [(99, 100, 164)],
        "reset": [(92, 100, 132), (124, 132, 164)],
    }
    short = pieces_of("carried", held, **{**CUT, "carry_bases": 30})
    assert short[0][0].start == 70


def test_a_long_gap_is_never_read_across() -> None:
    held = [Held("one", 100, 164, ((60, 80),))]
    (pieces,) = pieces_of("carried", held, **CUT)
    assert pieces[0].start == 80


@pytest.mark.parametrize(
    ("lengths", "rows", "expected"),
    [([10**6], 16, 4096), ([60] * 1000, 16, 64), ([2176] * 100, 16, 2176), ([5], 1, 16)],
)
def test_calls_are_neither_tiny_nor_padding(lengths: list[int], rows: int, expected: int) -> None:
    pieces = [Piece("one", 0, length, 1) for length in lengths]
    assert call_length(pieces, rows=rows, border=16) == expected


def test_a_limit_shortens_long_stretches_in_proportion() -> None:
    held = [Held("one", 100, 20_100), Held("two", 0, 10_000)]
    kept = limit(held, 15_000)
    assert [(h.contig, h.start) for h in kept] == [("one", 100), ("two", 0)]
    assert 14_990 <= sum(h.length for h in kept) <= 15_000
    assert 9_000 <= kept[0].length <= 9_100
    assert limit(held, None) == limit(held, 30_000) == held


@pytest.mark.parametrize("most", [1000, 40_000, 450_000])
def test_a_limit_leaves_short_stretches_out(most: int) -> None:
    rng = np.random.default_rng(0)
    held = [Held(str(i), 7, 7 + int(length)) for i, length in enumerate(rng.integers(12, 80, 10_000))]
    kept = limit(held, most)
    assert 0.9 * most <= sum(h.length for h in kept) <= most
    assert set(kept[:-1]) <= set(held)
    assert int(kept[-1].contig) > 9_000 - 10_000 * 100 // most


def test_a_limit_below_one_stretch_cuts_it() -> None:
    assert limit([Held("one", 100, 300), Held("two", 0, 100)], 150) == [Held("one", 100, 250)]
