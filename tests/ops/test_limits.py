"""Limits whose answer is known without a reference: forget all, write nothing, leave tokens out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.ops.cases import GATES, STRUCTURES, Inputs, inputs_for, rule_of
from titans_seq.ops import Gates, MemoryRule, MemoryState, chunkwise, recurrent

OPS = {"chunkwise": chunkwise, "recurrent": recurrent}
every_op = pytest.mark.parametrize("op", OPS.values(), ids=OPS)
every_structure = pytest.mark.parametrize("structure", STRUCTURES)


def with_gates(x: Inputs, **gates: object) -> Inputs:
    return replace(x, gates=replace(x.gates, **gates))


def run(op: object, x: Inputs, rule: MemoryRule, chunk: int) -> tuple[torch.Tensor, MemoryState]:
    assert callable(op)
    with torch.no_grad():
        return op(x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=chunk)


@every_op
@every_structure
def test_alpha_one_forgets_all(op: object, structure: str) -> None:
    """Two memories that differ in their weights, but not in the anchor that decides the writes."""
    rule = rule_of(structure, "l2", "l2")
    x = inputs_for(rule, 3, position=1, chunk=4)
    alpha = torch.zeros_like(x.gates.learning_rate)
    alpha[:, :, 1] = 1.0
    x = with_gates(x, forget=alpha)
    other = replace(x, state=replace(x.state, weights=x.state.weights.flip(-1)))
    (y, after), (again, end) = (run(op, i, rule, 4) for i in (x, other))
    assert float((y[:, :, 0] - again[:, :, 0]).abs().max()) > 1e-3
    torch.testing.assert_close(y[:, :, 1:], again[:, :, 1:], rtol=0, atol=1e-12)
    torch.testing.assert_close(after.weights, end.weights, rtol=0, atol=1e-14)


@every_op
@pytest.mark.parametrize("gate", ["none", "l2", "lq", "elastic_net", "bregman"])
@every_structure
def test_theta_zero_changes_nothing(op: object, structure: str, gate: str) -> None:
    rule = rule_of(structure, "l2", gate)
    x = inputs_for(rule, 9)
    x = with_gates(x, learning_rate=torch.zeros_like(x.gates.learning_rate))
    if x.gates.forget is not None:
        x = with_gates(x, forget=torch.zeros_like(x.gates.forget))
    y, after = run(op, x, rule, 4)
    st = rule.structure
    weights = st.join([rule.retention.link(a) for a in st.split(x.state.weights)])
    assert after.weights.equal(x.state.weights)
    torch.testing.assert_close(y, st.apply(weights, x.q), rtol=0, atol=1e-12)


@every_op
@pytest.mark.parametrize("gate", GATES)
def test_eta_zero_is_plain_descent(op: object, gate: str) -> None:
    moving, plain = (rule_of("mlp2", "l2", gate, a) for a in ("momentum", "descent"))
    x = inputs_for(moving, 9, masked=True)
    x = with_gates(x, momentum=torch.zeros_like(x.gates.learning_rate))
    y, after = run(op, x, moving, 4)
    still = with_gates(replace(x, state=replace(x.state, momentum=None)), momentum=None)
    wanted, end = run(op, still, plain, 4)
    torch.testing.assert_close(y, wanted, rtol=0, atol=1e-11)
    torch.testing.assert_close(after.weights, end.weights, rtol=0, atol=1e-11)


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_linear_case_of_the_titans_appendix(op: object) -> None:
    """S_t = eta S - theta (M k - v) k^T (a factor 2 in theta), M_t = (1 - alpha) M + S_t, for a matrix and C = 1."""
    rule = rule_of("matrix-5x3", "l2", "l2", "momentum")
    x = inputs_for(rule, 12, batch=1, heads=1)
    g, reads = x.gates, []
    assert g.momentum is not None
    assert g.forget is not None
    assert x.state.momentum is not None
    m, s = x.state.weights[0, 0].view(3, 5), x.state.momentum[0, 0].view(3, 5)
    for t in range(12):
        k, v = x.k[0, 0, t], x.v[0, 0, t]
        s = g.momentum[0, 0, t] * s - 2 * g.learning_rate[0, 0, t] * torch.outer(m @ k - v, k)
        m = (1 - g.forget[0, 0, t]) * m + s
        reads.append(m @ x.q[0, 0, t])
    y, after = run(op, x, rule, 1)
    torch.testing.assert_close(y[0, 0], torch.stack(reads), rtol=0, atol=1e-12)
    torch.testing.assert_close(after.weights[0, 0].view(3, 5), m, rtol=0, atol=1e-12)


@every_op
@pytest.mark.parametrize("gate", GATES)
@every_structure
def test_masked_tokens_are_left_out(op: object, structure: str, gate: str) -> None:
    rule = rule_of(structure, "l2", gate, "momentum")
    x = inputs_for(rule, 9, batch=1)
    live = torch.tensor([True, False, True, True, False, False, True, True, False])
    # a border after a masked token is a border all the same: idempotent, to rounding
    atol = 1e-11 if gate == "kl" else 1e-12
    y, after = run(op, with_gates(x, mask=live[None]), rule, 1)
    gates = Gates(**{name: None if g is None else g[:, :, live] for name, g in vars(x.gates).items()})
    short = Inputs(x.q[:, :, live], x.k[:, :, live], x.v[:, :, live], gates, x.state)
    wanted, end = run(op, short, rule, 1)
    torch.testing.assert_close(y[:, :, live], wanted, rtol=0, atol=10 * atol)
    torch.testing.assert_close(after.weights, end.weights, rtol=0, atol=atol)
    assert after.momentum is not None
    assert end.momentum is not None
    torch.testing.assert_close(after.momentum, end.momentum, rtol=0, atol=atol)
    assert after.position == 9


@every_op
@every_structure
def test_masked_garbage_is_never_seen(op: object, structure: str) -> None:
    rule = rule_of(structure, "l2", "l2", "momentum")
    x = inputs_for(rule, 6, masked=True)
    assert x.gates.mask is not None
    hidden = ~x.gates.mask[:, None].expand(2, 2, 6)
    loud = replace(x, k=x.k.detach().clone(), v=x.v.detach().clone())
    loud.k[hidden] = 100.0
    loud.v[hidden] = -1e4
    (y, after), (again, end) = (run(op, i, rule, 4) for i in (x, loud))
    torch.testing.assert_close(y, again, rtol=0, atol=1e-12)
    torch.testing.assert_close(after.weights, end.weights, rtol=0, atol=1e-12)
