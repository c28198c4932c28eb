"""Masks and resets: a masked token writes nothing; rows begin anew at borders without touching each other."""

from __future__ import annotations

import pytest
import torch

from tests.models.cases import PAIRS, VARIANTS, assert_same_state, build, tokens
from titans_seq.errors import ShapeError
from titans_seq.models import StreamState

MEMORY_PARTS = ("weights", "momentum", "anchor", "written")
every_pair = pytest.mark.parametrize(("variant", "memory"), [p for p in PAIRS if p[1] != "none"])


def written(state: StreamState) -> dict[str, torch.Tensor]:
    return {name: t for name, t in state.tensors().items() if name.rsplit(".", 1)[-1] in MEMORY_PARTS}


@every_pair
def test_masked_tokens_write_nothing(variant: str, memory: str) -> None:
    encoder = build(variant, memory)
    start = encoder.initial_state(2)
    with torch.no_grad():
        _, after = encoder(tokens(2, 11), start, torch.zeros(2, 11, dtype=torch.bool))
    before = written(start)
    assert before
    for name, t in written(after).items():
        if memory == "memora":  # a border stores log-softmax of what log-softmax made: equal to the last bits
            torch.testing.assert_close(t, before[name], rtol=0, atol=1e-6)
        else:
            assert t.equal(before[name]), name
    assert after.position == 11


@every_pair
def test_no_rows_give_no_rows(variant: str, memory: str) -> None:
    encoder = build(variant, memory)
    y, state = encoder(tokens(0, 11))
    again, state = encoder(tokens(0, 6), state)
    assert (y.shape, again.shape, state.position) == ((0, 11, 16), (0, 6, 16), 17)
    again.sum().backward()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_row_that_begins_anew_at_a_border_is_a_fresh_stream(variant: str) -> None:
    encoder, x = build(variant), tokens(3, 8 + 13)
    with torch.no_grad():
        y, state = encoder(x[:, :8])
        again, _ = encoder(x[:, 8:], state.reset([1]))
        carried, _ = encoder(x[:, 8:], state)
        fresh, _ = encoder(x[:, 8:])
    torch.testing.assert_close(again[1], fresh[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(again[[0, 2]], carried[[0, 2]], rtol=0, atol=1e-6)
    assert float((carried[1] - fresh[1]).abs().max()) > 1e-3
    assert y.shape == (3, 8, 16)


@pytest.mark.parametrize("rows", [[0, 2], torch.tensor([True, False, True]), torch.tensor([0, 2])], ids=str)
def test_rows_may_be_named_in_any_way(rows: object) -> None:
    encoder = build("lmm")
    with torch.no_grad():
        _, state = encoder(tokens(3, 8))
    fresh = encoder.initial_state(3)
    found = state.reset(rows)  # type: ignore[arg-type]
    for name, t in written(found).items():
        assert t[[0, 2]].equal(written(fresh)[name][[0, 2]])
        assert t[1].equal(written(state)[name][1])
    assert found.position == 8


def test_rows_cannot_begin_anew_inside_a_chunk() -> None:
    for variant, border in (("lmm", 4), ("mac", 8), ("tnt", 8)):
        encoder = build(variant)
        assert encoder.border == border
        _, state = encoder(tokens(2, border + 2))
        with pytest.raises(ShapeError, match=rf"only at a multiple of {border} tokens.*at {border + 2}.*masked tokens"):
            state.reset([0])
        assert state.reset([]) is state


def test_all_rows_begin_anew_at_any_time() -> None:
    encoder = build("mac")
    with torch.no_grad():
        _, state = encoder(tokens(2, 7))
        y, after = encoder(tokens(2, 9, seed=1), state.reset())
        wanted, end = encoder(tokens(2, 9, seed=1))
    assert y.equal(wanted)
    assert_same_state(after, end, 0)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (torch.tensor([True, False, True]), r"bool of shape \(2,\)"),
        ([0, 2], "from 0 to 1, found"),
        ([-1], "from 0 to 1"),
    ],
    ids=["three of two", "past the end", "negative"],
)
def test_rows_that_do_not_fit_the_batch(rows: torch.Tensor | list[int], words: str) -> None:
    encoder = build("lmm")
    _, state = encoder(tokens(2, 8))
    with pytest.raises(ShapeError, match=words):
        state.reset(rows)


def test_short_streams_pack_without_touching_each_other() -> None:
    """Rows of 5, 8 and 3 tokens, filled up to the border and followed by another stream each."""
    encoder, lengths = build("mag"), [5, 8, 3]
    first, second = tokens(3, 8), tokens(3, 8, seed=1)
    mask = torch.arange(8) < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        y, state = encoder(first, None, mask)
        z, _ = encoder(second, state.reset([0, 1, 2]))
        for row, length in enumerate(lengths):
            torch.testing.assert_close(y[row, :length], encoder(first[row : row + 1, :length])[0][0], rtol=0, atol=1e-5)
            torch.testing.assert_close(z[row], encoder(second[row : row + 1])[0][0], rtol=0, atol=1e-5)
