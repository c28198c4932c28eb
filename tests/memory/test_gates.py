"""Gates where they start, and what stays true of them whatever the tokens are."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from titans_seq.memory import NeuralMemory, memory_names, memory_spec
from titans_seq.ops import Gates

NAMES = [name for name in memory_names() if name != "none"]


def gates_of(memory: NeuralMemory, x: Tensor) -> Gates:
    with torch.no_grad():
        return memory.gates(x, None)


@pytest.mark.parametrize("loud", [1.0, 1e4], ids=["ordinary", "huge"])
@pytest.mark.parametrize("name", NAMES)
def test_gates_stay_in_their_ranges(name: str, loud: float) -> None:
    torch.manual_seed(0)
    memory = NeuralMemory(16, memory=name)
    g = gates_of(memory, loud * torch.randn(2, 50, 16))
    assert g.learning_rate.shape == (2, 2, 50)
    assert bool((g.learning_rate >= 0).all())
    for gate in (g.forget, g.momentum):
        assert gate is None or bool(((gate >= 0) & (gate <= 1)).all())
    assert g.threshold is None or bool((g.threshold > 0).all())
    given = {"forget": g.forget, "momentum": g.momentum, "threshold": g.threshold}
    rule = memory.rule
    assert {n for n, t in given.items() if t is not None} == (
        ({"forget"} if rule.retention.forgets else set())
        | ({"momentum"} if rule.momentum else set())
        | ({"threshold"} if rule.bias.uses_threshold else set())
    )


@pytest.mark.parametrize("chunk_size", [1, 16, 64])
@pytest.mark.parametrize("name", ["titans_lmm", "yaad", "deltanet", "gated_deltanet", "ttt_linear"])
def test_the_learning_rate_starts_at_its_share_of_a_chunk(name: str, chunk_size: int) -> None:
    """(1 - eta) / (C + 1), over the width that feeds the last layer of a deep memory."""
    memory = NeuralMemory(16, memory=name, chunk_size=chunk_size, momentum_init=0.75)
    g = gates_of(memory, torch.zeros(1, 1, 16))
    shapes = memory.rule.structure.shapes
    wanted = 1 / (chunk_size + 1) / (shapes[-1][1] if len(shapes) > 1 else 1)
    wanted *= 0.25 if memory.rule.momentum else 1
    assert g.learning_rate.flatten().tolist() == pytest.approx([wanted] * 2, rel=1e-5)


@pytest.mark.parametrize("name", ["titans_lmm", "moneta", "memora", "gla", "gated_deltanet"])
@pytest.mark.parametrize("forget", [1e-6, 1e-4, 0.1])
def test_forgetting_starts_where_it_is_told(name: str, forget: float) -> None:
    memory = NeuralMemory(16, memory=name, forget_init=forget)
    g = gates_of(memory, torch.zeros(1, 1, 16))
    assert g.forget is not None
    assert g.forget.flatten().tolist() == pytest.approx([forget] * 2, rel=1e-3)


def test_mamba2_ties_write_and_decay() -> None:
    memory = NeuralMemory(16, memory="mamba2", chunk_size=16, forget_init=1e-3)
    start = gates_of(memory, torch.zeros(1, 1, 16))
    assert start.forget is not None
    assert start.learning_rate.flatten().tolist() == pytest.approx([1 / 32] * 2, rel=1e-5)
    assert start.forget.flatten().tolist() == pytest.approx([1e-3] * 2, rel=1e-3)
    g = gates_of(memory, torch.randn(1, 30, 16))
    assert g.forget is not None
    rate = -torch.log1p(-g.forget) / (2 * g.learning_rate)  # kept = exp(-a d_t), theta = d_t / 2
    a = memory.gates.log_a.detach().exp()[:, None]
    torch.testing.assert_close(rate, a.expand_as(rate), rtol=1e-3, atol=0)


def test_retnet_keeps_a_fixed_share_per_head() -> None:
    memory = NeuralMemory(16, n_heads=4, memory="retnet")
    g = gates_of(memory, torch.randn(2, 7, 16))
    assert g.forget is not None
    assert g.forget[1, :, 3].tolist() == [2.0 ** -(5 + h) for h in range(4)]
    assert g.learning_rate.eq(0.5).all()


def test_linear_memories_clip_their_error_and_deep_ones_need_not() -> None:
    clips = {name: NeuralMemory(16, memory=name).rule.max_error for name in NAMES}
    assert clips["deltanet"] == clips["gated_deltanet"] == pytest.approx(2 * math.sqrt(8))
    assert clips["titans_lmm"] is clips["linear_attention"] is None
    assert NeuralMemory(16, max_error=3).rule.max_error == 3.0
    assert NeuralMemory(16, memory="deltanet", max_error=None).rule.max_error is None


def test_a_non_linear_gate_scales_the_rate_by_its_slope() -> None:
    """A step of the dual moves the weights by the link's slope; the rate makes up for it in the last layer."""
    for name in ("moneta", "memora"):
        memory = NeuralMemory(16, memory=name)
        st, gate = memory.rule.structure, memory.rule.retention
        slope = gate.slope(st.split(memory.start.detach())[-1]).mean()
        assert float(memory.gates.scale * slope * st.shapes[-1][1]) == pytest.approx(1, rel=1e-4)
    assert memory_spec("moneta").retention == "lq"
