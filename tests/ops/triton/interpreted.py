"""Every kernel against the definition, under Triton's interpreter.

Run by `test_interpreter.py`, in a process of its own.
Float32 on both sides of the arguments, the definition in float64; outputs that a kernel is to fill hold NaN before.
Tiles of 16 columns, so that every width is worked through in several blocks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.ops.cases import Inputs, Op, assert_same, convert, errors, inputs_for, outcome
from titans_seq.errors import ShapeError
from titans_seq.ops import Gates, MemoryRule, MemoryState, Structure, chunkwise, make_bias, make_gate, recurrent
from titans_seq.ops.dispatch import run_memory
from titans_seq.ops.triton import launch, operation
from titans_seq.ops.triton import memory as kernels
from titans_seq.ops.triton.limits import Tiles

CHUNK = 16
STRUCTURES = {
    "matrix": Structure("matrix", 16, 16),
    "matrix-32x16": Structure("matrix", 32, 16),
    "mlp1": Structure("mlp", 32, 32, depth=1),
    "mlp2": Structure("mlp", 16, 16, depth=2, expansion=2),
    "mlp2-32x16-silu": Structure("mlp", 32, 16, depth=2, expansion=1, activation="silu"),
}


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    def nan(like: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.full(shape, math.nan, dtype=dtype, device=like.device)

    monkeypatch.setattr(operation, "blank", nan)
    monkeypatch.setattr(launch, "tiles", lambda *_, **__: Tiles(16, 4, 1, 256))


def op(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, state: MemoryState, *, rule: MemoryRule, chunk_size: int
) -> tuple[Tensor, MemoryState]:
    y, _, after = run_memory(q, k, v, gates, state, rule=rule, chunk_size=chunk_size, backend="triton")
    return y, after


def half(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, state: MemoryState, *, rule: MemoryRule, chunk_size: int
) -> tuple[Tensor, MemoryState]:
    """Products of 16 bits, and a state that stays float32."""
    y, _, after = kernels.memory(q, k, v, gates, state, rule=rule, chunk_size=chunk_size, products=torch.float16)
    assert after.weights.dtype == torch.float32
    return y, after


def rule_of(
    structure: str, bias: str, gate: str, *, momentum: bool, clip: float | None = None, **options: float
) -> MemoryRule:
    return MemoryRule(STRUCTURES[structure], make_bias(bias), make_gate(gate, **options), momentum, clip)


def case(rule: MemoryRule, tokens: int, *, position: int = 0, heads: int = 1, batch: int = 1, seed: int = 0) -> Inputs:
    x = inputs_for(
        rule, tokens, position=position, chunk=CHUNK, masked=True, batch=batch, heads=heads, rate=0.02, forget=0.05,
        seed=seed,
    )  # fmt: skip
    return convert(x, torch.Tensor.float)


def convert_all(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.double() for name, t in found.items()}


def check(rule: MemoryRule, x: Inputs, *, cuts: Iterable[int] = (), rel: float = 2e-5) -> None:
    found = convert_all(outcome(op, x, rule, CHUNK, cuts=cuts))
    assert_same(found, outcome(recurrent, convert(x, torch.Tensor.double), rule, CHUNK), rel)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(("gate", "momentum"), [("none", False), ("l2", True)])
def test_structures(structure: str, gate: str, momentum: bool) -> None:
    rule = rule_of(structure, "l2", gate, momentum=momentum)
    check(rule, case(rule, 19))


def test_rows_and_heads_keep_apart() -> None:
    rule = rule_of("matrix", "l2", "l2", momentum=True)
    check(rule, case(rule, 19, batch=2, heads=2))


def test_no_mask() -> None:
    """A short last chunk without a mask: the places no token fills must not move the weights."""
    rule = rule_of("matrix", "l2", "l2", momentum=True)
    x = case(rule, 19)
    check(rule, replace(x, gates=replace(x.gates, mask=None)))


@pytest.mark.parametrize("bias", ["dot_product", "lp", "huber", "huber_norm", "huber_mixture", "robust"])
def test_biases(bias: str) -> None:
    rule = rule_of("matrix", bias, "l2", momentum=False)
    check(rule, case(rule, 17))


@pytest.mark.parametrize("bias", ["lp", "huber_mixture"])
def test_biases_under_layer_norm(bias: str) -> None:
    rule = rule_of("mlp2", bias, "l2", momentum=False)
    check(rule, case(rule, 17, seed=1))


@pytest.mark.parametrize("bias", ["l2", "robust"])
def test_clipped_errors(bias: str) -> None:
    rule = rule_of("matrix-32x16", bias, "l2", momentum=True, clip=3.0)
    free = rule_of("matrix-32x16", bias, "l2", momentum=True)
    x = case(rule, 17)
    y, after = (recurrent(x.q, x.k, x.v, x.gates, x.state, rule=r, chunk_size=CHUNK)[1] for r in (rule, free))
    assert not torch.allclose(y.weights, after.weights)  # some errors are longer than the clip
    check(rule, x)


@pytest.mark.parametrize("momentum", [False, True])
@pytest.mark.parametrize(("position", "tokens"), [(5, 3), (5, 11), (15, 18), (16, 1)])
def test_begins_and_ends_inside_a_chunk(position: int, tokens: int, momentum: bool) -> None:
    rule = rule_of("mlp2" if momentum else "matrix", "l2", "l2", momentum=momentum)
    check(rule, case(rule, tokens, position=position))


@pytest.mark.parametrize("cuts", [[1], [7, 16, 20], [16]])
def test_any_cut_gives_the_same(cuts: list[int]) -> None:
    rule = rule_of("matrix", "l2", "l2", momentum=True)
    x = case(rule, 33)
    assert_same(outcome(op, x, rule, CHUNK, cuts=cuts), outcome(op, x, rule, CHUNK), 2e-5)


def test_states_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretches of one chunk each, whose backward passes repeat their write pass."""
    rule = rule_of("matrix", "l2", "l2", momentum=True)
    x = case(rule, 33)
    monkeypatch.setattr(kernels, "_STATES", 1)
    check(rule, x)


@pytest.mark.parametrize("forget", [0.5, 1.0])
def test_gates_at_their_ends(forget: float) -> None:
    """alpha = 1 forgets all, eta = 0 carries nothing: cumulated logarithms fall by 16 and 87 per token."""
    rule = rule_of("matrix", "l2", "l2", momentum=True)
    x = case(rule, 17)
    assert x.gates.forget is not None
    assert x.gates.momentum is not None
    alpha, eta = (g.detach().clone() for g in (x.gates.forget, x.gates.momentum))
    alpha[..., [2, 3, 9]], eta[..., [4, 9, 10]] = forget, 0.0
    x = replace(x, gates=replace(x.gates, forget=alpha, momentum=eta))
    check(rule, x)


# Every non-linear gate, with a start inside a chunk, at a border, or a call that stays inside one chunk.
BORDERS = {
    "lq": ("mlp2", {}, 5, 30, True),
    "lq of 3": ("mlp1", {"q": 3.0}, 0, 19, False),
    "lq exact": ("matrix", {"exact": True}, 0, 35, True),
    "lq exact, of 5": ("mlp1", {"q": 5.0, "exact": True}, 5, 11, False),
    "kl": ("mlp2", {}, 5, 30, True),
    "kl, 32 to 16": ("mlp2-32x16-silu", {"scale": 0.5}, 5, 3, False),
    "elastic_net": ("mlp1", {"gamma": 0.05}, 5, 30, False),
    "elastic_net, with momentum": ("matrix", {"gamma": 0.05}, 0, 19, True),
    "bregman": ("matrix", {}, 5, 30, True),
    "bregman, mlp": ("mlp2", {}, 5, 11, False),
}


@pytest.mark.parametrize("name", BORDERS)
def test_gates_at_borders(name: str) -> None:
    structure, options, position, tokens, momentum = BORDERS[name]
    rule = rule_of(structure, "l2", name.partition(",")[0].split()[0], momentum=momentum, **options)
    check(rule, case(rule, tokens, position=position))


@pytest.mark.parametrize(("bias", "gate"), [("lp", "lq"), ("l2", "kl")])
def test_moneta_and_memora(bias: str, gate: str) -> None:
    """A state in float64, as `NeuralMemory` keeps theirs, comes back in float64, at float32's distance."""
    rule = rule_of("mlp2", bias, gate, momentum=False)
    x = convert(case(rule, 35), torch.Tensor.double)

    def single(q: Tensor, k: Tensor, v: Tensor, gates: Gates, state: MemoryState, *, rule: MemoryRule, chunk_size: int):  # type: ignore[no-untyped-def]
        y, _, after = run_memory(
            q, k, v, gates, state, rule=rule, chunk_size=chunk_size, backend="triton", products=torch.float32
        )
        assert after.weights.dtype == y.dtype == torch.float64
        return y, after

    assert_same(outcome(single, x, rule, CHUNK), outcome(recurrent, x, rule, CHUNK), 2e-5)


def test_rows_that_resemble_each_other() -> None:
    """Logits near 0: outputs nearly equal, whose differences LayerNorm enlarges. In 16 bits as in the milder test of
    `test_half_precision_products`, and in float32 closer than the chunk form, which multiplies what they share too."""
    rule = rule_of("mlp2", "l2", "kl", momentum=False)
    st, x = rule.structure, case(rule, 35)
    flat = st.join([rule.retention.border(0.1 * a, a) for a in st.split(x.state.weights.detach())]).requires_grad_()
    x = replace(x, state=replace(x.state, weights=flat, anchor=flat))
    wanted = outcome(recurrent, convert(x, torch.Tensor.double), rule, CHUNK)

    def apart(run: Op) -> float:
        return max(errors(convert_all(outcome(run, x, rule, CHUNK)), wanted).values())

    assert 1e-5 < apart(half) < 2e-2
    assert apart(op) < 0.1 * apart(chunkwise)


@pytest.mark.parametrize("exact", [False, True])
def test_a_floor_that_is_reached(exact: bool) -> None:
    low, high = (rule_of("matrix", "l2", "lq", momentum=False, exact=exact, floor=f) for f in (0.0, 30.0))
    x = case(low, 35)
    with torch.no_grad():
        runs = (recurrent(x.q, x.k, x.v, x.gates, x.state, rule=r, chunk_size=CHUNK)[1] for r in (low, high))
        free, floored = (float(after.weights.norm()) for after in runs)
    assert floored > 1.5 * free
    check(high, x)


@pytest.mark.parametrize("gate", ["lq", "kl", "elastic_net", "bregman"])
def test_any_cut_gives_the_same_under_every_gate(gate: str) -> None:
    rule = rule_of("matrix", "l2", gate, momentum=True)
    x = case(rule, 33)
    assert_same(outcome(op, x, rule, CHUNK, cuts=[7, 16, 20]), outcome(op, x, rule, CHUNK), 2e-5)


def test_weights_at_borders_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = rule_of("mlp1", "l2", "kl", momentum=False)
    x = case(rule, 33)
    monkeypatch.setattr(kernels, "_STATES", 1)
    check(rule, x)


def test_surprise() -> None:
    from titans_seq.ops.chunkwise import chunkwise_with_surprise

    rule = rule_of("mlp2", "l2", "l2", momentum=True)
    x = case(rule, 21, position=4)
    call = (x.q, x.k, x.v, x.gates, x.state)
    with torch.no_grad():
        found = run_memory(*call, rule=rule, chunk_size=CHUNK, backend="triton")[1]
        wanted = chunkwise_with_surprise(*call, rule=rule, chunk_size=CHUNK)[1]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_half_precision_products() -> None:
    """Rounding of 2^-11 in the operands."""
    rule = rule_of("mlp2", "l2", "l2", momentum=True)
    x = case(rule, 19)

    apart = errors(outcome(half, x, rule, CHUNK), outcome(op, x, rule, CHUNK))
    assert 1e-6 < max(apart.values()) < 2e-2, apart


@pytest.mark.parametrize("gate", ["l2", "kl", "elastic_net"])
def test_packed_sequences(gate: str) -> None:
    """Sequences of 5, 17 and 1 tokens on one axis, against one call each."""
    rule, edges = rule_of("matrix", "l2", gate, momentum=True), [0, 5, 22, 23]
    x = case(rule, 23, heads=2)
    start = x.state.weights.detach().expand(3, -1, -1).clone().requires_grad_()
    momentum = torch.zeros_like(start).requires_grad_()
    leaves = [x.q, x.k, x.v, x.gates.learning_rate, x.gates.forget, x.gates.momentum, start, momentum]
    y, end = kernels.packed_memory(
        x.q, x.k, x.v, x.gates, start, momentum, cu_seqlens=torch.tensor(edges), rule=rule, chunk_size=CHUNK
    )
    weigh = torch.randn(y.shape, generator=torch.Generator().manual_seed(3))
    found = torch.autograd.grad((y * weigh).sum() + end.square().sum(), leaves)
    reads, loss = [], torch.zeros(())
    for i, (lo, hi) in enumerate(itertools.pairwise(edges)):
        at = start[i : i + 1]
        state = MemoryState(at, momentum[i : i + 1], at, torch.zeros(1, 2))
        read, after = op(*x.cut(lo, hi), state, rule=rule, chunk_size=CHUNK)
        assert after.momentum is not None
        loss = loss + after.weights.square().sum() + after.momentum.square().sum()
        torch.testing.assert_close(end[i, :, 0], after.weights[0], rtol=0, atol=1e-6)
        reads.append(read)
    wanted = torch.autograd.grad((torch.cat(reads, 2) * weigh).sum() + loss, leaves)
    torch.testing.assert_close(y, torch.cat(reads, 2), rtol=0, atol=1e-6)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_packing_refuses_what_it_cannot_read() -> None:
    rule = rule_of("matrix", "l2", "none", momentum=False)
    x = case(rule, 8)
    for edges in ([0, 9], [1, 8], [0, 4, 4, 8]):
        start = x.state.weights.expand(len(edges) - 1, -1, -1)
        with pytest.raises(ShapeError, match="rising from 0 to 8"):
            kernels.packed_memory(
                x.q, x.k, x.v, x.gates, start, None, cu_seqlens=torch.tensor(edges), rule=rule, chunk_size=CHUNK
            )
