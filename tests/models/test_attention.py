"""Sliding-window attention against plain T x T attention, written here without blocks, state or rotary tables."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from titans_seq.errors import ShapeError
from titans_seq.models.attention import PersistentTokens, SlidingWindowAttention, rotate

D, H = 16, 2


def make(window: int, persistent: int) -> SlidingWindowAttention:
    torch.manual_seed(0)
    attention = SlidingWindowAttention(D, n_heads=H, window=window, persistent=persistent).double()
    with torch.no_grad():
        attention.persistent.key.normal_()
        attention.persistent.value.normal_()
    return attention


def turned(x: Tensor, position: int) -> Tensor:
    """Rotary turn of one vector: pairs (i, i + D / 4) of the first half by position * 10000^(-i / (D / 4))."""
    quarter, y = x.shape[0] // 4, x.clone()
    for i in range(quarter):
        angle = position * 10000.0 ** (-i / quarter)
        a, b = x[i], x[i + quarter]
        y[i] = a * math.cos(angle) - b * math.sin(angle)
        y[i + quarter] = a * math.sin(angle) + b * math.cos(angle)
    return y


def dense(attention: SlidingWindowAttention, x: Tensor) -> Tensor:
    """Token t sees the persistent keys and tokens t - window < s <= t; positions are absolute here."""
    width, outputs = D // H, []
    q, k, v = (attention.qkv(x)[:, i * D : (i + 1) * D] for i in range(3))
    prefix, value = attention.persistent.keys(), attention.persistent.value
    for t in range(x.shape[0]):
        heads = []
        for h in range(H):
            part = slice(h * width, (h + 1) * width)
            seen = range(max(0, t - attention.window + 1), t + 1)
            keys = [*prefix[h], *(turned(k[s, part], s) for s in seen)]
            values = [*value[h], *(v[s, part] for s in seen)]
            query = turned(q[t, part], t)
            # persistent keys are zero in the turned half, so that a turned query sees them from everywhere alike
            scores = torch.stack([key @ query for key in keys]) / math.sqrt(width)
            heads.append(torch.softmax(scores, 0) @ torch.stack(values))
        outputs.append(torch.cat(heads))
    return attention.out(torch.stack(outputs))


@pytest.mark.parametrize("tokens", [1, 4, 5, 23])
@pytest.mark.parametrize("persistent", [0, 3])
@pytest.mark.parametrize("window", [1, 4, 7, 40])
def test_equals_plain_attention(window: int, persistent: int, tokens: int) -> None:
    attention, x = make(window, persistent), torch.randn(2, tokens, D).double()
    with torch.no_grad():
        y, _ = attention(x, attention.initial_state(2))
        for row in range(2):
            torch.testing.assert_close(y[row], dense(attention, x[row]), rtol=0, atol=1e-11)


def test_scores_depend_on_distances_only() -> None:
    q, k = torch.randn(2, 1, 8).double()
    near = rotate(q, torch.tensor([7])) @ rotate(k, torch.tensor([4])).mT
    far = rotate(q, torch.tensor([57])) @ rotate(k, torch.tensor([54])).mT
    torch.testing.assert_close(near, far, rtol=0, atol=1e-12)


def test_narrow_heads_are_not_turned() -> None:
    x = torch.randn(4, 3)
    assert rotate(x, torch.arange(4)).equal(x)
    assert PersistentTokens(2, 3, 3).keys().shape == (2, 3, 3)


def test_persistent_tokens_alone() -> None:
    tokens = PersistentTokens(H, 3, 8)
    q = torch.randn(2, H, 5, 8)
    scores = torch.einsum("bhtd,hnd->bhtn", q, tokens.keys()) / 8**0.5
    wanted = torch.einsum("bhtn,hnd->bhtd", scores.softmax(-1), tokens.value)
    torch.testing.assert_close(tokens.attend(q), wanted)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ShapeError, match="multiple of n_heads"):
        SlidingWindowAttention(10, n_heads=3, window=4, persistent=0)
