"""The layer around a memory: specs and their errors, convolution, records, calls that do not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from titans_seq.errors import ConfigError, RangeError, ShapeError, TitansError, UnknownNameError
from titans_seq.memory import MemorySpec, NeuralMemory, memory_spec
from titans_seq.memory.conv import CausalConv


@pytest.mark.parametrize("width", [1, 2, 4])
def test_convolution_is_the_printed_sum(width: int) -> None:
    conv, x = CausalConv(3, width).double(), torch.randn(2, 9, 3).double()
    y, tail = conv(x, conv.empty(2))
    for t in range(9):
        wanted = sum(conv.weight[i] * x[:, t - i] for i in range(width) if t >= i)
        torch.testing.assert_close(y[:, t], wanted)
    assert tail.equal(x[:, 9 - (width - 1) :])


@pytest.mark.parametrize("cuts", [[1], [2], [3, 3, 4], list(range(1, 9))], ids=str)
def test_convolution_with_a_carried_tail_is_exact(cuts: list[int]) -> None:
    conv, x = CausalConv(3), torch.randn(2, 9, 3)
    whole, end = conv(x, conv.empty(2))
    tail, outputs = conv.empty(2), []
    for start, stop in zip([0, *cuts], [*cuts, 9], strict=True):
        y, tail = conv(x[:, start:stop], tail)
        outputs.append(y)
    assert torch.cat(outputs, 1).equal(whole)
    assert tail.equal(end)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: memory_spec("titan_lmm"), UnknownNameError, "unknown memory 'titan_lmm'; did you mean 'titans_lmm'"),
        (lambda: memory_spec("yaad", dept=3), UnknownNameError, "unknown memory option 'dept'; did you mean 'depth'"),
        (lambda: MemorySpec("mpl"), UnknownNameError, "unknown memory structure 'mpl'"),
        (lambda: MemorySpec(bias="l3"), UnknownNameError, "unknown attentional bias 'l3'"),
        (lambda: MemorySpec(retention="l1"), UnknownNameError, "unknown retention gate 'l1'"),
        (lambda: MemorySpec(algorithm="newton"), UnknownNameError, "unknown memory algorithm 'newton'"),
        (lambda: MemorySpec(rate="fast"), UnknownNameError, "unknown learning-rate gate 'fast'"),
        (lambda: MemorySpec(decay="slow"), UnknownNameError, "unknown decay gate 'slow'"),
        (lambda: MemorySpec(depth=0), RangeError, "depth must be at least 1, found 0"),
        (lambda: MemorySpec(bias="lp", bias_options={"q": 3}), ConfigError, "bias 'lp'.*q"),
        (lambda: MemorySpec(retention="lq", retention_options={"q": 0.5}), RangeError, "q must be greater than 1"),
        (lambda: MemorySpec(rate="tied", retention="none"), ConfigError, "retention 'none' has no decay"),
        (lambda: memory_spec("none").rule(4, 4), ConfigError, "'none' has no rule"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_descriptions_that_cannot_be(make: Any, error: type[TitansError], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_a_named_memory_with_a_choice_changed() -> None:
    spec = memory_spec("yaad", depth=3, algorithm="momentum")
    assert (spec.bias, spec.depth, spec.algorithm) == ("huber_mixture", 3, "momentum")
    assert memory_spec(spec) == spec
    y, _ = NeuralMemory(8, memory=spec)(torch.randn(1, 5, 8))
    assert y.isfinite().all()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"d_model": 0}, RangeError, "d_model must be positive"),
        ({"n_heads": 3}, ShapeError, "multiple of n_heads, found 8 and 3; or give key_width"),
        ({"chunk_size": 0}, RangeError, "chunk_size must be positive"),
        ({"conv_width": 0}, RangeError, "conv_width must be positive"),
        ({"forget_init": 1.0}, RangeError, r"forget_init must be in \(0, 1\), found 1"),
        ({"momentum_init": -0.1}, RangeError, "momentum_init must be in"),
        ({"max_error": 0.0}, RangeError, "max_error must be positive"),
        ({"backend": "chunk_wise"}, UnknownNameError, "did you mean 'chunkwise'"),
        ({"value_width": 3, "memory": MemorySpec("vector")}, ShapeError, "key width 4 and value width 3"),
        ({"key_width": 0}, RangeError, "key_width must be positive"),
        ({"value_width": -1}, RangeError, "value_width must be positive"),
        ({"max_error": "big"}, ConfigError, "max_error must be a number, None or 'auto'"),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_options_that_cannot_be(options: dict[str, Any], error: type[TitansError], words: str) -> None:
    with pytest.raises(error, match=words):
        NeuralMemory(**({"d_model": 8} | options))


def test_calls_that_do_not_fit() -> None:
    memory = NeuralMemory(8)
    _, state = memory(torch.randn(2, 3, 8))
    with pytest.raises(ShapeError, match=r"x must be \(batch, tokens, 8\), found \(2, 3, 7\)"):
        memory(torch.randn(2, 3, 7))
    with pytest.raises(ShapeError, match=r"mask must be bool of shape \(2, 3\)"):
        memory(torch.randn(2, 3, 8), mask=torch.ones(2, 3))
    with pytest.raises(ShapeError, match="state holds 2 rows, but x has 1"):
        memory(torch.randn(1, 3, 8), state)


def test_a_state_of_its_own_counts_tokens() -> None:
    memory = NeuralMemory(8, chunk_size=4)
    _, state = memory(torch.randn(1, 6, 8))
    _, state = memory(torch.randn(1, 3, 8), state)
    assert int(state["position"]) == 9


@pytest.mark.parametrize("backend", ["chunkwise", "recurrent"])
def test_records_say_what_was_written(backend: str) -> None:
    memory, x = NeuralMemory(8, memory="titans_lmm", backend=backend), torch.randn(2, 6, 8, requires_grad=True)
    memory.readings = []
    memory(x)
    (seen,) = memory.readings
    assert seen.learning_rate.shape == (2, 2, 6)
    assert seen.forget is not None
    assert seen.momentum is not None
    tensors = [seen.learning_rate, seen.forget, seen.momentum]
    if backend == "chunkwise":
        assert seen.surprise is not None
        tensors.append(seen.surprise)
        assert bool((seen.surprise > 0).all())
    else:
        assert seen.surprise is None
    assert not any(t.requires_grad for t in tensors)


def test_recall_reads_weights_as_a_read_of_the_memory_does() -> None:
    for name in ("titans_lmm", "memora"):
        memory = NeuralMemory(8, memory=name, chunk_size=1).double()
        q = torch.nn.functional.normalize(torch.randn(1, 2, 3, 4).double(), dim=-1)
        dual = memory.initial_state(1)["weights"]
        st, gate = memory.rule.structure, memory.rule.retention
        for h in range(2):
            weights = st.join([gate.link(a) for a in st.split(dual[0, h])])
            read = st.apply(weights, q[0, h])
            wanted = read / (read.square().mean(-1, keepdim=True) + 1e-6).sqrt()
            torch.testing.assert_close(memory.recall(q, dual)[0, h], wanted)
