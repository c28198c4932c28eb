"""The definition against autograd: a twin whose surprise is `torch.func.grad` of the inner loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.ops.cases import ALGORITHMS, BIASES, GATES, STRUCTURES, Inputs, assert_same, inputs_for, rule_of
from titans_seq.ops import MemoryRule, make_bias, recurrent
from titans_seq.ops.recurrent import surprise

TOKENS = 6
# The write of `lp` uses tanh(10 r) and r^2 + 1e-6 in place of Sign(r) and r^2 (MIRAS Remark 5). For coordinates of r
# of at least 2 that is a relative 1e-6 / 4 in the error, so values of at least 5 are used, with a rate that does not
# learn them, and this tolerance. Every other bias is differentiated exactly.
TOLERANCE = {"lp": 1e-6}
INPUTS = {"lp": {"target": 5.0, "rate": 1e-3}}


def link(rule: MemoryRule, dual: Tensor) -> Tensor:
    return rule.structure.join([rule.retention.link(a) for a in rule.structure.split(dual)])


def gradient(rule: MemoryRule, dual: Tensor, k: Tensor, v: Tensor, delta: Tensor | None) -> Tensor:
    """d loss / d W at W = link(dual), one row: `dual` (size,), `k` (D,), `v` (D_v,), `delta` (1,)."""
    weights = link(rule, dual)

    def inner(w: Tensor) -> Tensor:
        return rule.bias.loss(rule.structure.apply(w, k[None])[0] - v, v, delta)

    if rule.max_error is None:
        return torch.func.grad(inner)(weights)
    # The clip shortens d loss / d M(k); what is left is carried back through M as before.
    read = rule.structure.apply(weights, k[None])[0]
    error = torch.func.grad(lambda y: rule.bias.loss(y - v, v, delta))(read)
    error = error * (rule.max_error / error.norm()).clamp(max=1)
    return torch.func.grad(lambda w: (error * rule.structure.apply(w, k[None])[0]).sum())(weights)


def twin(inputs: Inputs, rule: MemoryRule, chunk: int) -> dict[str, Tensor]:
    """Design 3.1 for each row alone, in plain words."""
    batch, heads, _tokens = inputs.q.shape[:3]
    rows = [twin_row(inputs, rule, chunk, b, h) for b in range(batch) for h in range(heads)]
    return {name: torch.stack([row[name] for row in rows]).unflatten(0, (batch, heads)) for name in rows[0]}


def twin_row(inputs: Inputs, rule: MemoryRule, chunk: int, b: int, h: int) -> dict[str, Tensor]:
    st, gate, gates, state = rule.structure, rule.retention, inputs.gates, inputs.state
    a, anchor, written = state.weights[b, h], state.anchor[b, h], state.written[b, h]
    s = torch.zeros_like(a) if state.momentum is None else state.momentum[b, h]
    reads = []
    for t in range(inputs.q.shape[2]):
        if gates.mask is None or bool(gates.mask[b, t]):
            theta = gates.learning_rate[b, h, t]
            alpha = 0.0 if gates.forget is None else gates.forget[b, h, t]
            eta = 0.0 if gates.momentum is None else gates.momentum[b, h, t]
            delta = None if gates.threshold is None else gates.threshold[b, h, t : t + 1]
            u = gradient(rule, anchor, inputs.k[b, h, t], inputs.v[b, h, t], delta)
            s = eta * s - theta * u
            a = (1 - alpha) * a + s
            written = written + theta
        if (state.position + t + 1) % chunk == 0:
            a = st.join([gate.border(x, written) for x in st.split(a)])
            anchor, written = a, torch.zeros_like(written)
            w = link(rule, a)
        else:
            duals = zip(st.split(anchor), st.split(a), strict=True)
            w = st.join([gate.link(x) + gate.slope(x) * (y - x) for x, y in duals])
        reads.append(st.apply(w, inputs.q[b, h, t : t + 1])[0])
    found = {"reads": torch.stack(reads), "A": a, "anchor": anchor, "written": written}
    return found | ({"S": s} if rule.momentum else {})


def define(inputs: Inputs, rule: MemoryRule, chunk: int) -> dict[str, Tensor]:
    y, after = recurrent(inputs.q, inputs.k, inputs.v, inputs.gates, inputs.state, rule=rule, chunk_size=chunk)
    found = {"reads": y, "A": after.weights, "anchor": after.anchor, "written": after.written}
    return found | ({"S": after.momentum} if after.momentum is not None else {})


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_surprise_is_the_gradient_of_the_inner_loss(structure: str, bias: str, gate: str) -> None:
    rule = rule_of(structure, bias, gate)
    x = inputs_for(rule, 1, **INPUTS.get(bias, {}))
    delta = None if x.gates.threshold is None else x.gates.threshold[:, :, 0, None]
    found = surprise(rule, x.state.weights, x.k[:, :, 0], x.v[:, :, 0], delta)
    for b, h in ((0, 0), (1, 1)):
        wanted = gradient(
            rule, x.state.weights[b, h], x.k[b, h, 0], x.v[b, h, 0], None if delta is None else delta[b, h]
        )
        assert bool(wanted.any())
        assert_same({"u": found[b, h]}, {"u": wanted}, TOLERANCE.get(bias, 1e-12))


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_recurrent_equals_its_twin(structure: str, bias: str, gate: str, algorithm: str, chunk: int) -> None:
    rule = rule_of(structure, bias, gate, algorithm)
    x = inputs_for(rule, TOKENS, position=3, chunk=chunk, batch=1, masked=chunk == 4, **INPUTS.get(bias, {}))
    with torch.no_grad():
        assert_same(define(x, rule, chunk), twin(x, rule, chunk), TOLERANCE.get(bias, 1e-11))


@pytest.mark.parametrize("bias", [n for n in BIASES if n != "lp"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_clipped_error_writes_less(structure: str, bias: str) -> None:
    rule, free = (rule_of(structure, bias, "l2", "momentum", clip) for clip in (0.3, None))
    x = inputs_for(rule, TOKENS, position=3, chunk=4, masked=True)
    with torch.no_grad():
        clipped = define(x, rule, 4)
        assert_same(clipped, twin(x, rule, 4), 1e-10)
        assert float((clipped["A"] - define(x, free, 4)["A"]).abs().max()) > 1e-3


@pytest.mark.parametrize("p", [1.5, 2.0, 4.0])
def test_other_powers_of_lp(p: float) -> None:
    rule = MemoryRule(STRUCTURES["mlp2"], make_bias("lp", p=p), GATES["l2"])
    x = inputs_for(rule, TOKENS, **INPUTS["lp"])
    with torch.no_grad():
        assert_same(define(x, rule, 1), twin(x, rule, 1), TOLERANCE["lp"])
