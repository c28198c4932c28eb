"""What a caller may ask for besides encoding: memory off, records; and what it is told when the call is wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import titans_seq
from tests.models.cases import PAIRS, VARIANTS, build, tokens
from titans_seq.errors import ConfigError, RangeError, ShapeError, TitansError, UnknownNameError


def test_the_public_door() -> None:
    encoder = titans_seq.Encoder()
    y, state = encoder(torch.randn(1, 5, 64))
    assert y.shape == (1, 5, 64)
    assert isinstance(state, titans_seq.EncoderState)


@pytest.mark.parametrize("variant", VARIANTS)
def test_memory_off_reads_zeros_and_comes_back(variant: str) -> None:
    encoder, x = build(variant), tokens(1, 12)
    with torch.no_grad():
        on = encoder(x)[0]
        with encoder.memory_off():
            off = encoder(x)[0]
            changed = x.clone()
            changed[:, 0] += 5
            # what is left of the first token is what attention can still see: a window per layer, or its segment
            blind = encoder(changed)[0]
        assert encoder(x)[0].equal(on)
    assert float((on - off).abs().max()) > 1e-3
    if variant in ("lmm", "mac"):
        torch.testing.assert_close(blind[:, 8:], off[:, 8:], rtol=0, atol=0)


def test_memory_comes_back_after_an_error() -> None:
    encoder = build()
    with pytest.raises(ShapeError), encoder.memory_off():
        encoder(torch.zeros(1, 2, 3))
    assert not any(memory.off for memory in encoder.memories())


@pytest.mark.parametrize(("variant", "memory"), [p for p in PAIRS if p[1] != "none"])
def test_records_hold_surprise_and_gates_of_every_token(variant: str, memory: str) -> None:
    encoder, x = build(variant, memory), tokens(2, 11)
    with encoder.record() as readings:
        _, state = encoder(x[:, :8])
        encoder(x[:, 8:], state)
    assert len(readings) == len(encoder.memories()) == {"hybrid": 1, "tnt": 4}.get(variant, 2)
    for seen in readings:
        rate = torch.cat([r.learning_rate for r in seen], 2)
        surprise = torch.cat([r.surprise for r in seen if r.surprise is not None], 2)
        assert rate.shape == surprise.shape == (2, 2, 11)
        assert bool((surprise >= 0).all())
        assert bool((rate > 0).all())
        assert not rate.requires_grad
    with torch.no_grad():
        encoder(x)
    assert sum(r.surprise.shape[2] for r in readings[0] if r.surprise is not None) == 11  # closed


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"variant": "magg"}, UnknownNameError, "unknown encoder variant 'magg'; did you mean 'mag'"),
        ({"memory": "titan_lmm"}, UnknownNameError, "did you mean 'titans_lmm'"),
        ({"d_model": 15}, ShapeError, "multiple of n_heads, found 15 and 2"),
        ({"segment": 6}, ConfigError, "segment=6, chunk_size=4"),
        ({"persistent": -1}, ConfigError, "persistent must not be negative"),
        ({"n_layers": 0}, RangeError, "n_layers must be positive"),
        ({"window": 0}, RangeError, "window must be positive"),
        ({"chunk_size": 0}, RangeError, "chunk_size must be positive"),
        ({"forget_init": 0.0}, RangeError, r"forget_init must be in \(0, 1\)"),
        ({"backend": "cuda"}, UnknownNameError, "unknown memory backend 'cuda'"),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_wrong_choices(options: dict[str, Any], error: type[TitansError], words: str) -> None:
    with pytest.raises(error, match=words):
        build(**{"variant": "mac"} | options)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(5, 16), (1, 5, 15), (1, 1, 5, 16)], ids=str)
def test_tokens_of_another_shape(variant: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"x must be \(batch, tokens, 16\), found"):
        build(variant)(torch.zeros(shape))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("mask", [torch.ones(1, 4, dtype=torch.bool), torch.ones(1, 5)], ids=["short", "float"])
def test_masks_of_another_shape_or_kind(variant: str, mask: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match="mask must be bool of shape"):
        build(variant)(tokens(1, 5), None, mask)


def test_no_persistent_tokens() -> None:
    for variant in VARIANTS:
        y, _ = build(variant, persistent=0)(tokens(1, 9))
        assert y.isfinite().all()
