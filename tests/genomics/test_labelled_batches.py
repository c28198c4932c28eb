"""Batches: every sequence once in a pass, little padding, the same order after a resume."""

from __future__ import annotations

import numpy as np

from titans_seq.genomics.labelled import LabelledSequences
from titans_seq.genomics.labelled_batches import LabelledBatches, make_batch


def numbered(lengths: list[int]) -> LabelledSequences:
    """Sequences that can be told apart by their labels."""
    count, zeros = len(lengths), np.zeros(len(lengths), dtype=np.int64)
    tokens = np.random.default_rng(0).integers(0, 4, sum(lengths)).astype(np.uint8)
    offsets = np.r_[0, np.cumsum(lengths)].astype(np.int64)
    names = tuple(map(str, range(count)))
    return LabelledSequences(tokens, offsets, np.arange(count), names, names, ("x",), zeros, zeros)


def test_a_batch_is_filled_up_to_its_longest() -> None:
    data = numbered([3, 1, 2])
    batch = make_batch(data, np.array([1, 0]))
    assert batch.tokens.tolist() == [[data[1][0], 4, 4], data[0].tolist()]
    assert (batch.lengths.tolist(), batch.labels.tolist(), batch.reset.tolist()) == ([1, 3], [1, 0], [True, True])


def test_every_sequence_comes_once_in_a_pass() -> None:
    batches = LabelledBatches(numbered([5] * 24), size=4, seed=3)
    assert batches.batches_per_epoch == 6
    passes = [[int(label) for _ in range(6) for label in next(batches).labels] for _ in range(2)]
    assert [sorted(found) for found in passes] == [list(range(24))] * 2
    assert passes[0] != passes[1]
    assert batches.epoch == 1


def test_sequences_of_like_length_stand_together() -> None:
    lengths = np.random.default_rng(1).integers(10, 1000, 640).tolist()
    batches = LabelledBatches(numbered(lengths), size=32, seed=0)
    seen = [next(batches) for _ in range(batches.batches_per_epoch)]
    padded = sum(batch.tokens.size for batch in seen)
    assert padded < 1.2 * sum(lengths)


def test_a_cursor_goes_on_where_it_stood() -> None:
    first, second = (LabelledBatches(numbered([7] * 30), size=8, seed=5) for _ in range(2))
    for _ in range(5):
        next(first)
    second.load_state_dict(first.state_dict())
    assert all((next(first).labels == next(second).labels).all() for _ in range(6))


def test_a_set_smaller_than_a_batch() -> None:
    assert len(next(LabelledBatches(numbered([4, 4]), size=64, seed=0)).labels) == 2
