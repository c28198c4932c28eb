"""Fused sliding-window attention: the numbers of the blocks under any cut, and the tiles that it is told to look at."""

from __future__ import annotations

import logging

import pytest
import torch

from tests.models.cases import D_MODEL, tokens
from titans_seq.errors import ConfigError, UnknownNameError
from titans_seq.models import flex
from titans_seq.models.attention import SlidingWindowAttention, rotate

CPU = torch.device("cpu")
# Uncompiled, flex_attention holds all scores and says so; on a CPU that is how it runs here.
eager = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")


def make(window: int = 5, persistent: int = 3, kernel: str = "auto") -> SlidingWindowAttention:
    torch.manual_seed(0)
    attention = SlidingWindowAttention(D_MODEL, n_heads=2, window=window, persistent=persistent).double()
    with torch.no_grad():
        attention.persistent.key.normal_()
        attention.persistent.value.normal_()
    attention.kernel = kernel
    return attention


@eager
@pytest.mark.parametrize(("window", "persistent"), [(5, 3), (1, 2), (7, 0), (140, 2)])
@pytest.mark.parametrize("cut", [0, 1, 11])
def test_equals_blocks(window: int, persistent: int, cut: int) -> None:
    x, results = tokens(2, 29, dtype=torch.float64), []
    for kernel in ("blocks", "flex"):
        attention = make(window, persistent, kernel)
        with torch.no_grad():
            first, state = attention(x[:, :cut], attention.initial_state(2))
            second, state = attention(x[:, cut:], state)
        results.append([torch.cat([first, second], 1), *state.values()])
    for wanted, found in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@eager
def test_rows_with_windows_of_different_ages() -> None:
    """One row goes on with a full window, the other begins with an empty one."""
    x, results = tokens(2, 9, dtype=torch.float64), []
    for kernel in ("blocks", "flex"):
        attention = make(kernel=kernel)
        with torch.no_grad():
            _, state = attention(x, attention.initial_state(2))
            state["live"] = state["live"] & torch.tensor([[True], [False]])
            results.append(attention(x, state)[0])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(results[1][1], make()(x, make().initial_state(2))[0][1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("length", "window", "prefix"), [(1, 4, 3), (300, 64, 0), (700, 200, 5), (513, 1, 130)])
def test_tiles_hold_every_visible_pair_once_and_no_empty_tile(length: int, window: int, prefix: int) -> None:
    i, j = torch.arange(length)[:, None], torch.arange(prefix + window - 1 + length)[None, :]
    back = i + window - 1 - (j - prefix)
    visible = (j < prefix) | ((back >= 0) & (back < window))
    count, order = flex._tiles(length, window, prefix, CPU)
    for row, (n, tiles) in enumerate(zip(count[0, 0].tolist(), order[0, 0].tolist(), strict=True)):
        assert sorted(tiles) == list(range(len(tiles)))
        lines = visible[row * 128 : (row + 1) * 128]
        needed = {tile for tile in tiles if bool(lines[:, tile * 128 : (tile + 1) * 128].any())}
        assert needed <= set(tiles[:n])
        # a last tile of queries is not full, and may list the tile that its missing rows would see
        assert len(needed) == n or (row == len(count[0, 0]) - 1 and n - len(needed) <= 1)


def test_turns_far_into_a_call_keep_their_digits() -> None:
    """Scores of neighbours at position 10^6, in float32 with angles in float64."""
    q, k = torch.randn(2, 1, 64)
    near, far = (
        float(
            rotate(q, torch.tensor([at + 3.0], dtype=torch.float64))
            @ rotate(k, torch.tensor([at], dtype=torch.float64)).mT
        )
        for at in (4.0, 1_000_000.0)
    )
    assert abs(near - far) < 2e-5


def test_auto_runs_blocks_on_a_cpu() -> None:
    attention = make()
    assert not attention._wants_flex(torch.zeros(1, 2, 500, 64))
    with pytest.raises(UnknownNameError, match="unknown attention kernel 'flash'"):
        make(kernel="flash")(tokens(1, 3, dtype=torch.float64), attention.initial_state(1))


class OnCuda:
    """As much of a CUDA tensor as the choice of the kernel looks at."""

    def __init__(self, tokens: int, width: int, dtype: torch.dtype = torch.bfloat16) -> None:
        self.device, self.dtype, self.shape, self.is_cuda = torch.device("cuda"), dtype, (1, 2, tokens, width), True


@pytest.mark.parametrize(
    ("q", "words"),
    [
        (OnCuda(500, 64, torch.float64), "no kernel for torch.float64"),
        (OnCuda(500, 24), "24 wide"),
        (OnCuda(500, 8), "8 wide"),
        (OnCuda(16, 64), "16 tokens"),
    ],
    ids=["type", "width", "narrow", "short"],
)
def test_what_the_fused_kernel_cannot_take(q: OnCuda, words: str, caplog: pytest.LogCaptureFixture) -> None:
    flex.tell_fallback.cache_clear()
    attention = make()
    with caplog.at_level(logging.INFO, logger="titans_seq"):
        assert not attention._wants_flex(q)  # type: ignore[arg-type]
        assert not attention._wants_flex(q)  # type: ignore[arg-type]
    assert len(caplog.records) == 1
    assert words in caplog.text
    with pytest.raises(ConfigError, match=words):
        make(kernel="flex")._wants_flex(q)  # type: ignore[arg-type]
    assert attention._wants_flex(OnCuda(500, 64))  # type: ignore[arg-type]


def test_a_compilation_that_fails_falls_back_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flex.tell_fallback.cache_clear()
    attention, x = make(), tokens(1, 12, dtype=torch.float64)
    wanted, _ = make()(x, attention.initial_state(1))

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr("titans_seq.models.attention.why_not_flex", lambda _: None)
    monkeypatch.setattr("titans_seq.models.attention.flex_window", broken)
    with caplog.at_level(logging.INFO, logger="titans_seq"):
        for _ in range(2):
            assert attention(x, attention.initial_state(1))[0].equal(wanted)
    assert [r.getMessage() for r in caplog.records] == [
        "sliding-window attention runs in blocks: RuntimeError: no such instruction"
    ]
    with pytest.raises(RuntimeError, match="no such instruction"):
        make(kernel="flex")(x, attention.initial_state(1))
