"""The dual form against the definition: reads, final state and every gradient, in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from tests.ops.cases import (
    ALGORITHMS,
    BIASES,
    GATES,
    STRUCTURES,
    assert_same,
    convert,
    inputs_for,
    outcome,
    rounding,
    rule_of,
)
from titans_seq.ops import MemoryRule, chunkwise, make_gate, recurrent

CLIPS = {"free": None, "clip": 0.5}
SOME = {
    "titans": ("mlp2", "l2", "l2", "momentum"),
    "deep": ("mlp4-silu", "huber", "l2", "momentum"),
    "moneta": ("mlp2", "lp", "lq", "descent"),
    "memora": ("mlp1", "l2", "kl", "momentum"),
    "shrinking": ("matrix-5x3", "robust", "elastic_net", "momentum"),
    "bounded": ("vector", "huber_norm", "bregman", "descent"),
    "delta": ("matrix", "l2", "none", "descent"),
}
named = pytest.mark.parametrize("choice", SOME)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_equals_the_definition(structure: str, bias: str, gate: str, algorithm: str, clip: str) -> None:
    rule = rule_of(structure, bias, gate, algorithm, CLIPS[clip])
    # 1 token of a chunk that began earlier, two whole chunks, 1 token of a chunk that ends later
    x = inputs_for(rule, 8, position=2, chunk=3, masked=clip == "clip")
    wanted, tolerance = outcome(recurrent, x, rule, 3), 1e-10
    if gate == "kl" and structure in ("mlp3", "mlp4-silu"):
        tolerance = max(tolerance, 10 * rounding(recurrent, x, rule, 3, wanted))
        assert tolerance < 1e-6
    assert_same(outcome(chunkwise, x, rule, 3), wanted, tolerance)


@named
@pytest.mark.parametrize("tokens", [1, 63, 65, 1000])
def test_odd_lengths(choice: str, tokens: int) -> None:
    rule = rule_of(*SOME[choice])
    # Gates of the size that training starts with. A faster rate, or a memory that forgets until its weights are near
    # zero, is chaotic over a thousand tokens: one last bit of the input then moves the definition itself by 1e-10
    # (titans) to 1e-5 (moneta, whose link turns a step of A into eleven of W).
    x = inputs_for(
        rule, tokens, chunk=16, masked=True, rate=4e-4 if choice == "moneta" else 4e-3, forget=1e-3, batch=1
    )  # fmt: skip
    assert_same(outcome(chunkwise, x, rule, 16), outcome(recurrent, x, rule, 16), 1e-10)


@named
@pytest.mark.parametrize("position", range(1, 5))
@pytest.mark.parametrize("tokens", range(1, 6))
def test_begins_and_ends_anywhere_inside_a_chunk(choice: str, position: int, tokens: int) -> None:
    rule = rule_of(*SOME[choice])
    x = inputs_for(rule, tokens, position=position, chunk=5, masked=True, seed=tokens)
    assert_same(outcome(chunkwise, x, rule, 5), outcome(recurrent, x, rule, 5), 1e-10)


@named
@given(data=some.data())
@settings(max_examples=6)
def test_any_cut_gives_the_same(choice: str, data: some.DataObject) -> None:
    rule, tokens = rule_of(*SOME[choice]), 29
    cuts = data.draw(some.lists(some.integers(0, tokens), max_size=6), label="cuts")
    x = inputs_for(rule, tokens, position=data.draw(some.integers(0, 7), label="position"), chunk=8, masked=True)
    # gradients pass from later pieces to earlier ones through the state
    assert_same(outcome(chunkwise, x, rule, 8, cuts=cuts), outcome(chunkwise, x, rule, 8), 1e-10)


@named
def test_single_precision(choice: str) -> None:
    rule = rule_of(*SOME[choice])
    x = inputs_for(rule, 65, position=3, chunk=16, masked=True, rate=0.02, forget=0.01)
    single = convert(x, torch.Tensor.float)
    found = {name: t.double() for name, t in outcome(chunkwise, single, rule, 16).items()}
    assert_same(found, outcome(recurrent, convert(single, torch.Tensor.double), rule, 16), 1e-4)


@pytest.mark.parametrize("exact", [False, True], ids=["printed", "exact"])
def test_lq_on_its_floor(exact: bool) -> None:
    """A floor that some of the borders meet; the grid above stays clear of it."""
    rule = MemoryRule(STRUCTURES["mlp2"], BIASES["l2"], make_gate("lq", exact=exact, floor=2.0 if exact else 0.4), True)
    x = inputs_for(rule, 11, position=3, chunk=4, masked=True)
    wanted = outcome(recurrent, x, rule, 4)
    free = MemoryRule(rule.structure, rule.bias, make_gate("lq", exact=exact, floor=0.0), True)
    assert float((outcome(recurrent, x, free, 4)["final anchor"] - wanted["final anchor"]).abs().max()) > 1e-3
    assert_same(outcome(chunkwise, x, rule, 4), wanted, 1e-10)
