"""encode(whole) == encode(any pieces): outputs and state, whatever the cuts."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

from tests.models.cases import PAIRS, VARIANTS, assert_same_state, build, in_pieces, tokens
from titans_seq.models import StreamState
from titans_seq.streaming import Encoder

LENGTH = 43
cuts_of_a_stream = some.lists(some.integers(0, LENGTH), max_size=8)


# Of the outputs' size, which the last RMSNorm brings to 3 or so; 20 times as much for the state, whose numbers are
# larger and meet no norm.
TOLERANCE = {"float32": 1e-5, "float64": 1e-9}


@functools.cache
def whole(variant: str, memory: str, kind: str) -> tuple[Encoder, Tensor, Tensor, StreamState, float]:
    """An encoder, tokens, what one call makes of them, and the distance that pieces may have from it."""
    encoder, x = build(variant, memory).double(), tokens(2, LENGTH, dtype=torch.float64)
    with torch.no_grad():
        if kind == "float32":
            encoder, x = encoder.float(), x.float()
        y, end = encoder(x)
    atol = TOLERANCE[kind] * float(y.abs().max())
    return encoder, x, y, end, atol


@pytest.mark.parametrize("kind", TOLERANCE)
@pytest.mark.parametrize(("variant", "memory"), PAIRS)
@given(cuts=cuts_of_a_stream)
@settings(max_examples=4)
def test_any_pieces_equal_the_whole(variant: str, memory: str, kind: str, cuts: list[int]) -> None:
    encoder, x, wanted, end, atol = whole(variant, memory, kind)
    with torch.no_grad():
        found, after = in_pieces(encoder, x, cuts)
    torch.testing.assert_close(found, wanted, rtol=0, atol=atol)
    assert_same_state(after, end, 20 * atol)


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_token_at_a_time(variant: str) -> None:
    encoder, x = build(variant), tokens(1, LENGTH)
    with torch.no_grad():
        found, after = in_pieces(encoder, x, list(range(1, LENGTH)))
        wanted, end = encoder(x)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert_same_state(after, end, 1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
@given(cuts=cuts_of_a_stream)
@settings(max_examples=4)
def test_masks_and_gradients_pass_through_cuts(variant: str, cuts: list[int]) -> None:
    encoder = build(variant).double()
    x, mask = tokens(2, LENGTH, dtype=torch.float64).requires_grad_(), torch.rand(2, LENGTH) > 0.3
    weight = torch.linspace(-1, 1, 2 * LENGTH * 16, dtype=torch.float64).view(2, LENGTH, 16)
    leaves = [x, *encoder.parameters()]
    bars = [
        torch.autograd.grad((y * weight).sum(), leaves, allow_unused=True)
        for y in (encoder(x, None, mask)[0], in_pieces(encoder, x, cuts, mask)[0])
    ]
    for wanted, found in zip(*bars, strict=True):
        assert (wanted is None) == (found is None)
        if wanted is not None and found is not None:
            torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-8 * float(wanted.abs().max()))


@pytest.mark.parametrize("variant", VARIANTS)
def test_calls_without_tokens_and_with_one(variant: str) -> None:
    encoder, x = build(variant), tokens(2, 1)
    empty, state = encoder(x[:, :0])
    assert empty.shape == (2, 0, 16)
    assert state.position == 0
    y, state = encoder(x, state)
    again, after = encoder(x[:, :0], state)
    assert y.shape == (2, 1, 16)
    assert y.isfinite().all()
    assert again.shape == (2, 0, 16)
    assert after.position == 1


@pytest.mark.parametrize(("variant", "memory"), PAIRS)
def test_state_does_not_grow(variant: str, memory: str) -> None:
    encoder, state, sizes = build(variant, memory), None, set()
    with torch.no_grad():
        for piece in tokens(1, 40).split(7, 1):
            _, state = encoder(piece, state)
            sizes.add(state.nbytes)
    assert sizes == {encoder.initial_state(1).nbytes}
