"""Every memory by name, as a layer: causal, rows apart, exact at any cut, the same by definition and by chunk."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

from titans_seq.errors import ConfigError
from titans_seq.memory import NeuralMemory, memory_names, memory_spec

NAMES = [name for name in memory_names() if name != "none"]
D_MODEL, LENGTH = 12, 26
every_name = pytest.mark.parametrize("name", NAMES)


def build(name: str, **options: object) -> NeuralMemory:
    torch.manual_seed(0)
    memory = NeuralMemory(D_MODEL, memory=name, chunk_size=4, **options).double()  # type: ignore[arg-type]
    if memory.gates.projection is not None:  # gates that differ from token to token
        torch.nn.init.normal_(memory.gates.projection.weight, std=0.3)
    return memory


def tokens(batch: int = 2, length: int = LENGTH, seed: int = 0) -> Tensor:
    return torch.randn(batch, length, D_MODEL, generator=torch.Generator().manual_seed(seed)).double()


def test_the_names_of_the_design() -> None:
    deep, delta = "titans_lmm moneta yaad memora ttt_linear ttt_mlp", "deltanet gated_deltanet"
    hebbian = "linear_attention retnet gla mamba2"
    assert set(memory_names()) == {*deep.split(), *delta.split(), *hebbian.split(), "none"}


@every_name
def test_a_later_token_moves_no_earlier_output(name: str) -> None:
    memory, x = build(name), tokens(1)
    changed = x.clone()
    changed[:, 9] += 2
    with torch.no_grad():
        a, b = memory(x)[0], memory(changed)[0]
    torch.testing.assert_close(a[:, :9], b[:, :9], rtol=0, atol=1e-12)
    assert float((a[:, 9] - b[:, 9]).abs().max()) > 1e-3
    assert float((a[:, -1] - b[:, -1]).abs().max()) > 1e-6


@every_name
def test_a_row_alone_equals_the_row_in_a_batch(name: str) -> None:
    memory, x = build(name), tokens(3)
    with torch.no_grad():
        together, end = memory(x)
        for row in range(3):
            y, after = memory(x[row : row + 1])
            torch.testing.assert_close(y[0], together[row], rtol=0, atol=1e-10)
            torch.testing.assert_close(after["weights"][0], end["weights"][row], rtol=0, atol=1e-10)


@every_name
@given(cuts=some.lists(some.integers(0, LENGTH), max_size=6))
@settings(max_examples=5)
def test_any_cut_gives_the_same(name: str, cuts: list[int]) -> None:
    memory, x, state, outputs = build(name), tokens(), None, []
    edges = [0, *sorted(cuts), LENGTH]
    with torch.no_grad():
        for start, stop in itertools.pairwise(edges):
            y, state = memory(x[:, start:stop], state)
            outputs.append(y)
        wanted, end = memory(x)
    torch.testing.assert_close(torch.cat(outputs, 1), wanted, rtol=0, atol=1e-9)
    assert state is not None
    assert state.keys() == end.keys()
    for part, t in state.items():
        torch.testing.assert_close(t, end[part], rtol=1e-9, atol=1e-9)


@every_name
def test_definition_and_chunk_form_agree_through_the_layer(name: str) -> None:
    results = []
    for backend in ("recurrent", "chunkwise"):
        memory, x = build(name, backend=backend), tokens().requires_grad_()
        y, state = memory(x)
        loss = y.square().sum() + state["weights"].sum()
        leaves = [x, *memory.parameters()]
        bars = torch.autograd.grad(loss, leaves, allow_unused=True)
        results.append([y, state["weights"], *(torch.zeros(()) if b is None else b for b in bars)])
    for wanted, found in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9 * float(wanted.detach().abs().max()))


@every_name
def test_gradients_reach_every_parameter(name: str) -> None:
    memory = build(name)
    memory(tokens())[0].square().sum().backward()
    silent = [n for n, p in memory.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@every_name
def test_other_widths_for_keys_and_values(name: str) -> None:
    memory = build(name, n_heads=3, key_width=5, value_width=2)
    y, state = memory(tokens())
    assert y.shape == (2, LENGTH, D_MODEL)
    assert state["weights"].shape == (2, 3, memory.rule.structure.size)
    assert y.isfinite().all()


@every_name
def test_twenty_thousand_random_bases_stay_finite(name: str) -> None:
    """Four embedded bases in random order, one pass; the million-token run is a benchmark."""
    torch.manual_seed(0)
    memory = NeuralMemory(16, n_heads=2, memory=name, chunk_size=16)
    embedding = torch.randn(4, 16)
    make, state, largest, norms = torch.Generator().manual_seed(1), None, 0.0, []
    with torch.no_grad():
        for _ in range(10):
            x = embedding[torch.randint(0, 4, (1, 2000), generator=make)]
            y, state = memory(x, state)
            largest = max(largest, float(y.abs().max()))
            norms.append(float(state["weights"].norm()))
            assert all(t.isfinite().all() for t in state.values())
    assert largest < 100
    if memory.spec.bias == "dot_product":
        # Nothing tells a Hebbian memory what it knows already: it may hold the sum of its 20,000 writes, but no more.
        assert max(norms) < 20_000
    else:
        assert max(norms) < 1000


def test_memory_none_reads_zeros() -> None:
    memory = NeuralMemory(D_MODEL, memory="none")
    y, state = memory(tokens(length=5).float())
    assert not y.any()
    assert y.shape == (2, 5, D_MODEL)
    assert set(state) == {"position"}
    assert list(memory.parameters()) == []


def test_a_name_with_options_is_what_a_preset_writes() -> None:
    assert memory_spec({"name": "yaad", "depth": 1}) == memory_spec("yaad", depth=1) != memory_spec("yaad")
    with pytest.raises(ConfigError, match="expected a memory's name"):
        memory_spec({"depth": 1})
