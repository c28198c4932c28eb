"""Rules, inputs and comparisons that the tests of `ops` share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from titans_seq.ops import Gates, MemoryRule, MemoryState, Structure, make_bias, make_gate
from titans_seq.ops.retention import KLRetention

STRUCTURES = {
    "vector": Structure("vector", 5, 5),
    "matrix": Structure("matrix", 5, 5),
    "matrix-5x3": Structure("matrix", 5, 3),
    "mlp1": Structure("mlp", 5, 5, depth=1),
    "mlp2": Structure("mlp", 5, 5, depth=2, expansion=1.6),
    "mlp2-5x3-silu": Structure("mlp", 5, 3, depth=2, expansion=1.6, activation="silu"),
    "mlp3": Structure("mlp", 5, 5, depth=3, expansion=1.6),
    "mlp4-silu": Structure("mlp", 5, 5, depth=4, expansion=1.6, activation="silu"),
}
BIASES = {n: make_bias(n) for n in ("dot_product", "l2", "lp", "huber", "huber_norm", "huber_mixture", "robust")}
GATES = {
    "none": make_gate("none"),
    "l2": make_gate("l2"),
    "lq": make_gate("lq"),
    "lq_exact": make_gate("lq", exact=True),
    "kl": make_gate("kl"),
    "elastic_net": make_gate("elastic_net", gamma=0.05),
    "bregman": make_gate("bregman"),
}
ALGORITHMS = {"descent": False, "momentum": True}

Op = Callable[..., tuple[Tensor, MemoryState]]


def rule_of(structure: str, bias: str, gate: str, algorithm: str = "descent", clip: float | None = None) -> MemoryRule:
    return MemoryRule(STRUCTURES[structure], BIASES[bias], GATES[gate], ALGORITHMS[algorithm], clip)


@dataclass(frozen=True)
class Inputs:
    """Everything a memory operation takes; every tensor of numbers is a leaf that wants a gradient."""

    q: Tensor
    k: Tensor
    v: Tensor
    gates: Gates
    state: MemoryState

    def leaves(self) -> dict[str, Tensor]:
        named: dict[str, Any] = {"q": self.q, "k": self.k, "v": self.v, **vars(self.gates)}
        named |= {"A": self.state.weights, "S": self.state.momentum}
        named |= {"anchor": self.state.anchor, "written": self.state.written}
        return {name: t for name, t in named.items() if isinstance(t, Tensor) and t.requires_grad}

    def cut(self, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor, Gates]:
        return (
            self.q[:, :, start:stop],
            self.k[:, :, start:stop],
            self.v[:, :, start:stop],
            self.gates.slice(start, stop),
        )


def inputs_for(
    rule: MemoryRule, tokens: int, *, position: int = 0, chunk: int = 1, masked: bool = False, seed: int = 0,
    batch: int = 2, heads: int = 2, rate: float = 0.1, forget: float = 0.3, target: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> Inputs:  # fmt: skip
    """Random inputs; ``position`` off a multiple of ``chunk`` gives an anchor and a `written` of their own.

    ``target`` is the least size of a value's coordinates where it is above 1.
    """
    make, st = torch.Generator().manual_seed(seed), rule.structure

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=make, dtype=torch.float64)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=make, dtype=torch.float64)

    def leaf(t: Tensor) -> Tensor:
        return t.to(dtype).requires_grad_()

    per_token, flat = (batch, heads, tokens), (batch, heads, st.size)
    v = normal(*per_token, st.value_width)
    if target > 1:
        v = v.sign() * (target + v.abs())
    start = torch.stack([rule.retention.initial(st, make).double() for _ in range(heads)]).expand(flat)
    if isinstance(rule.retention, KLRetention):
        start = 2 * start  # see `rounding`
    weights = leaf(start + 0.1 * normal(*flat))
    inside = position % chunk != 0
    gates = Gates(
        leaf(uniform(0.2, 1, *per_token) * rate),
        leaf(uniform(0, forget, *per_token)) if rule.retention.forgets else None,
        leaf(uniform(0.05, 0.8, *per_token)) if rule.momentum else None,
        leaf(uniform(0.5, 1.5, *per_token)) if rule.bias.uses_threshold else None,
        uniform(0, 1, batch, tokens) > 0.25 if masked else None,
    )
    state = MemoryState(
        weights,
        leaf(0.1 * normal(*flat)) if rule.momentum else None,
        leaf(weights.detach() + 0.1 * normal(*flat)) if inside else weights,
        leaf(uniform(0, 1, batch, heads)) if inside else torch.zeros(batch, heads, dtype=dtype),
        position,
    )
    q, k = (leaf(F.normalize(normal(*per_token, st.key_width), dim=-1)) for _ in "qk")
    return Inputs(q, k, leaf(v), gates, state)


def convert(inputs: Inputs, fn: Callable[[Tensor], Tensor]) -> Inputs:
    """The same inputs with ``fn`` applied to every tensor of numbers, as new leaves."""

    def leaf(t: Any) -> Any:
        if not isinstance(t, Tensor) or not t.is_floating_point():
            return t
        return fn(t.detach()).requires_grad_(t.requires_grad)

    s, weights = inputs.state, leaf(inputs.state.weights)
    state = replace(
        s, weights=weights, momentum=leaf(s.momentum), anchor=weights if s.anchor is s.weights else leaf(s.anchor),
        written=leaf(s.written),
    )  # fmt: skip
    gates = Gates(**{name: leaf(t) for name, t in vars(inputs.gates).items()})
    return Inputs(leaf(inputs.q), leaf(inputs.k), leaf(inputs.v), gates, state)


def in_pieces(op: Op, inputs: Inputs, rule: MemoryRule, chunk: int, cuts: Iterable[int]) -> tuple[Tensor, MemoryState]:
    """``op`` called once per piece, the state handed on."""
    edges, state, reads = [0, *sorted(cuts), inputs.q.shape[2]], inputs.state, []
    for start, stop in itertools.pairwise(edges):
        y, state = op(*inputs.cut(start, stop), state, rule=rule, chunk_size=chunk)
        reads.append(y)
    return torch.cat(reads, 2), state


def outcome(
    op: Op, inputs: Inputs, rule: MemoryRule, chunk: int, *, cuts: Iterable[int] = (), grads: bool = True
) -> dict[str, Tensor]:
    """Reads, final state, and the gradient of a random projection of all of them at every leaf."""
    y, after = in_pieces(op, inputs, rule, chunk, cuts)
    found = {"reads": y, "final A": after.weights, "final anchor": after.anchor, "final written": after.written}
    if after.momentum is not None:
        found["final S"] = after.momentum
    if grads:
        make, loss = torch.Generator().manual_seed(7), y.new_zeros(())
        for t in found.values():
            loss = loss + (t * torch.randn(t.shape, generator=make, dtype=torch.float64).to(t.dtype)).sum()
        leaves = inputs.leaves()
        bars = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        for (name, leaf), bar in zip(leaves.items(), bars, strict=True):
            found[f"gradient of {name}"] = torch.zeros_like(leaf) if bar is None else bar
    return {name: t.detach() for name, t in found.items()}


def errors(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    """Largest difference of every entry over the entry's largest number (or 1e-3, where that is smaller)."""
    assert found.keys() == wanted.keys()
    found, wanted = ({name: t.detach() for name, t in group.items()} for group in (found, wanted))
    return {
        name: float((found[name] - t).abs().max() / max(float(t.abs().max()), 1e-3)) if t.numel() else 0.0
        for name, t in wanted.items()
    }


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor], rel: float | dict[str, float]) -> None:
    for name, error in errors(found, wanted).items():
        bound = rel if isinstance(rel, float) else rel[name]
        assert error <= bound, f"{name}: {error:.1e} apart, {bound:.1e} allowed"


def rounding(op: Op, inputs: Inputs, rule: MemoryRule, chunk: int, wanted: dict[str, Tensor]) -> float:
    """How far ``op`` moves, at most, when every input moves by its last bit: what no other order of sums can beat.

    Rows of weights on a simplex are all positive; stacked, they give nearly equal outputs, whose small differences
    LayerNorm divides by their own size. Logits of twice the usual spread help, but four layers still lose 5 digits.
    """
    worst = 0.0
    for seed in range(3):
        make = torch.Generator().manual_seed(seed)

        def nudge(t: Tensor, make: torch.Generator = make) -> Tensor:
            signs = torch.randint(0, 2, t.shape, generator=make).to(t.dtype) * 2 - 1
            return t * (1 + torch.finfo(t.dtype).eps * signs)

        worst = max(worst, *errors(outcome(op, convert(inputs, nudge), rule, chunk), wanted).values())
    return worst
