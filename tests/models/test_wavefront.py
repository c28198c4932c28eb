"""Blocks on several threads give what one thread gives: outputs, state, and what is recorded on the way."""

from __future__ import annotations

import pytest
import torch

from tests.models.cases import PAIRS, build, tokens
from titans_seq.models import encoder as module


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 8)


@pytest.mark.parametrize(("variant", "memory"), PAIRS)
@pytest.mark.parametrize("threads", [2, 5])
def test_threads_change_nothing(variant: str, memory: str, threads: int) -> None:
    encoder, x = build(variant, memory), tokens(2, 61)
    mask = torch.ones(2, 61, dtype=torch.bool)
    mask[1, 20:30] = False
    with torch.no_grad():
        _, state = encoder(x[:, :3], mask=mask[:, :3])
        wanted, end = encoder(x[:, 3:], state, mask[:, 3:])
        encoder.threads = threads
        found, after = encoder(x[:, 3:], state, mask[:, 3:])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert after.position == end.position == 61
    for name, t in after.tensors().items():
        torch.testing.assert_close(t, end.tensors()[name], rtol=1e-5, atol=1e-5)


def test_pieces_end_at_borders(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, x = build("mac"), tokens(1, 50)
    encoder.threads = 2
    seen: list[tuple[int, int]] = []
    first = encoder.blocks[0]
    forward = first.forward
    monkeypatch.setattr(first, "forward", lambda x, *rest: seen.append((rest[2], x.shape[1])) or forward(x, *rest))
    with torch.no_grad():
        _, state = encoder(x[:, :5])
        seen.clear()
        encoder(x[:, 5:], state)
    assert [start % encoder.border for start, _ in seen[1:]] == [0] * (len(seen) - 1)
    assert sum(size for _, size in seen) == 45
    assert len(seen) > 2


def test_gradients_and_errors_go_the_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, x = build("lmm"), tokens(1, 40)
    encoder.threads = 2
    y, _ = encoder(x)
    assert y.requires_grad

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(encoder.blocks[1], "forward", broken)
    with torch.no_grad(), pytest.raises(ZeroDivisionError):
        encoder(x)
