"""What one token or row may touch: nothing earlier, nothing beside it, and no memory that was never written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.ops.cases import GATES, STRUCTURES, assert_same, inputs_for, outcome, rule_of
from titans_seq.ops import Gates, MemoryState, chunkwise, recurrent
from titans_seq.ops.chunkwise import chunkwise_with_surprise

OPS = {"chunkwise": chunkwise, "recurrent": recurrent}


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("structure", ["vector", "matrix", "mlp2"])
def test_a_later_token_moves_no_earlier_read(structure: str, gate: str, op: str) -> None:
    rule = rule_of(structure, "l2", gate, "momentum")
    x, changed, at = inputs_for(rule, 14, position=3, chunk=4), inputs_for(rule, 14, position=3, chunk=4), 7
    others = inputs_for(rule, 14, seed=1)
    with torch.no_grad():
        for name in ("q", "k", "v"):
            getattr(changed, name)[:, :, at:] = getattr(others, name)[:, :, at:]
        for name, gates in vars(changed.gates).items():
            if gates is not None:
                gates[:, :, at:] = getattr(others.gates, name)[:, :, at:]
        a, b = (outcome(OPS[op], i, rule, 4, grads=False)["reads"] for i in (x, changed))
    # the chunk form multiplies later tokens by zeros, so that sums may be grouped differently but not moved
    torch.testing.assert_close(a[:, :, :at], b[:, :, :at], rtol=0, atol=1e-13)
    assert float((a[:, :, at] - b[:, :, at]).abs().max()) > 1e-3


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_row_alone_equals_the_row_in_a_batch(structure: str, op: str) -> None:
    rule = rule_of(structure, "huber", "l2", "momentum")
    x = inputs_for(rule, 11, position=3, chunk=4, batch=3)
    whole, after = OPS[op](x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=4)
    for row in range(3):
        one = slice(row, row + 1)
        gates = Gates(**{name: None if g is None else g[one] for name, g in vars(x.gates).items()})
        state = x.state.map(lambda t, one=one: t[one])
        y, end = OPS[op](x.q[one], x.k[one], x.v[one], gates, state, rule=rule, chunk_size=4)
        torch.testing.assert_close(y, whole[one], rtol=0, atol=1e-13)
        torch.testing.assert_close(end.weights, after.weights[one], rtol=0, atol=1e-13)


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh memory is full of NaN, as it may be on any machine."""

    def poison(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def made(*args: Any, **options: Any) -> Tensor:
            t = make(*args, **options)
            return t.fill_(torch.nan) if t.is_floating_point() else t

        return made

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch, "empty_strided"), (Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, poison(getattr(owner, name)))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("gate", ["l2", "lq", "kl"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_no_unwritten_memory_is_read(structure: str, gate: str) -> None:
    assert torch.empty(2).isnan().all()
    assert torch.zeros(1).new_empty(2).isnan().all()
    rule = rule_of(structure, "l2", gate, "momentum")
    x = inputs_for(rule, 11, position=3, chunk=4, masked=True)
    found = outcome(chunkwise, x, rule, 4)
    assert all(t.isfinite().all() for t in found.values())
    if not (gate == "kl" and structure.startswith("mlp")):  # those lose digits; see `cases.rounding`
        assert_same(found, outcome(recurrent, x, rule, 4), 1e-10)


@pytest.mark.parametrize("op", OPS)
def test_no_tokens_change_nothing(op: str) -> None:
    rule = rule_of("mlp2-5x3-silu", "l2", "l2", "momentum")
    x = inputs_for(rule, 0, position=3, chunk=4)
    y, after = OPS[op](x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=4)
    assert y.shape == (2, 2, 0, 3)
    assert isinstance(after, MemoryState)
    assert after.position == 3
    assert after.weights.equal(x.state.weights)


def test_length_of_the_surprise() -> None:
    rule = rule_of("mlp2", "l2", "kl", "momentum")
    x = inputs_for(rule, 1, position=2, chunk=4)
    _, length, after = chunkwise_with_surprise(x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=4)
    assert x.state.momentum is not None
    assert x.gates.momentum is not None
    assert after.momentum is not None
    write = x.gates.momentum * x.state.momentum - after.momentum
    torch.testing.assert_close(length[..., 0], write.norm(dim=-1) / x.gates.learning_rate[..., 0], rtol=1e-10, atol=0)
    assert not length.requires_grad
