"""Backward passes written by hand: the same inside autocast, and no second derivative rather than a wrong one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.ops.cases import Inputs, inputs_for, rule_of
from titans_seq.errors import ConfigError
from titans_seq.memory import NeuralMemory
from titans_seq.ops import native
from titans_seq.ops.dispatch import run_memory
from titans_seq.ops.native import layers

RULE = rule_of("mlp2", "l2", "l2", "momentum")


@pytest.fixture(params=["chunkwise", "native"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "native" and native.library() is None:
        pytest.skip(f"compiled kernels: {native.load()[1]}")
    return str(request.param)


def read(x: Inputs, backend: str) -> Tensor:
    return run_memory(x.q, x.k, x.v, x.gates, x.state, rule=RULE, chunk_size=4, backend=backend)[0]


def test_a_backward_pass_inside_autocast_is_that_outside(backend: str) -> None:
    found, wanted = inputs_for(RULE, 11, chunk=4), inputs_for(RULE, 11, chunk=4)
    with torch.autocast("cpu", torch.bfloat16):
        read(found, backend).square().sum().backward()
    read(wanted, backend).square().sum().backward()
    for name, leaf in wanted.leaves().items():
        assert leaf.grad is not None, name
        assert found.leaves()[name].grad.equal(leaf.grad), name  # type: ignore[union-attr]


def test_a_layer_trains_inside_autocast(backend: str) -> None:
    torch.manual_seed(0)
    memory = NeuralMemory(16, chunk_size=4, backend=backend)
    with torch.autocast("cpu", torch.bfloat16):
        memory(torch.randn(2, 9, 16))[0].float().square().mean().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in memory.parameters())
    assert any(p.grad is not None and bool(p.grad.any()) for p in memory.parameters())


def test_a_second_derivative_is_refused(backend: str) -> None:
    x = inputs_for(RULE, 9, chunk=4)
    with pytest.raises(ConfigError, match=r"no second derivative.*backend='recurrent'.*TITANS_SEQ_NATIVE=0"):
        torch.autograd.grad(read(x, backend).square().sum(), x.k, create_graph=True)
    with pytest.raises(ConfigError, match="no second derivative"):
        read(x, backend).square().sum().backward(create_graph=True)


def test_compiled_layers_refuse_it_too() -> None:
    """They stand around the recurrent form as well: what `torch.autograd.grad` gave there was another number."""
    if native.library() is None:
        pytest.skip(f"compiled kernels: {native.load()[1]}")
    x, weight = torch.randn(3, 8, requires_grad=True), torch.ones(8)
    for y in (layers.rms_norm(x, weight, eps=1e-6), layers.swiglu(x)):
        with pytest.raises(ConfigError, match="no second derivative"):
            torch.autograd.grad(y.square().sum(), x, create_graph=True)


def test_no_rows(backend: str) -> None:
    x = inputs_for(RULE, 6, chunk=4, batch=0)
    y, surprise, after = run_memory(x.q, x.k, x.v, x.gates, x.state, rule=RULE, chunk_size=4, backend=backend)
    assert surprise is not None
    assert (y.shape, surprise.shape, after.position) == (x.v.shape, x.v.shape[:3], x.state.position + 6)
