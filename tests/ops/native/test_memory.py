"""The compiled kernels against the definition: reads, final state, every gradient, on each instruction set."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from tests.ops.cases import ALGORITHMS, Inputs, assert_same, convert, inputs_for, outcome, rule_of
from titans_seq.errors import ConfigError
from titans_seq.ops import Gates, MemoryRule, MemoryState, Structure, make_bias, make_gate, recurrent
from titans_seq.ops.dispatch import run_memory
from titans_seq.ops.native import LEVELS, library, load
from titans_seq.ops.native.memory import memory, refusal
from titans_seq.ops.native.room import Room

pytestmark = pytest.mark.skipif(library() is None, reason=f"compiled kernels: {load()[1]}")
CLIPS = {"free": None, "clip": 0.5}
DENSE = ["matrix", "matrix-5x3", "mlp1", "mlp2", "mlp2-5x3-silu", "mlp3", "mlp4-silu"]
WIDE = {
    "exact": Structure("mlp", 32, 32, depth=2, expansion=2),
    "over": Structure("mlp", 33, 33, depth=2, expansion=1.5),
    "under": Structure("mlp", 15, 31, depth=3, expansion=3),
    "matrix": Structure("matrix", 34, 20),
}


def native(*args: object, **options: object) -> tuple[torch.Tensor, MemoryState]:
    y, _, after = memory(*args, **options)  # type: ignore[arg-type]
    return y, after


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("gate", ["none", "l2"])
@pytest.mark.parametrize("bias", ["dot_product", "l2", "huber", "huber_norm", "huber_mixture", "robust"])
@pytest.mark.parametrize("structure", DENSE)
def test_equals_the_definition(structure: str, bias: str, gate: str, algorithm: str, clip: str) -> None:
    rule = rule_of(structure, bias, gate, algorithm, CLIPS[clip])
    x = inputs_for(rule, 8, position=2, chunk=3, masked=clip == "clip")
    assert_same(outcome(native, x, rule, 3), outcome(recurrent, x, rule, 3), 1e-10)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("structure", WIDE)
def test_every_instruction_set_at_widths_around_its_vectors(
    structure: str, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITANS_SEQ_NATIVE", str(level))
    rule = MemoryRule(WIDE[structure], make_bias("l2"), make_gate("l2"), momentum=True)
    x = inputs_for(rule, 45, position=11, chunk=17, masked=True, rate=4e-3, forget=0.05)
    wanted = outcome(recurrent, x, rule, 17)
    assert_same(outcome(native, x, rule, 17), wanted, 1e-10)
    found = outcome(native, convert(x, torch.Tensor.float), rule, 17)
    assert_same({name: t.double() for name, t in found.items()}, wanted, 1e-4)


@pytest.mark.parametrize("tokens", [1, 63, 65, 1000])
def test_odd_lengths(tokens: int) -> None:
    rule = rule_of("mlp2", "l2", "l2", "momentum")
    x = inputs_for(rule, tokens, chunk=16, masked=True, rate=4e-3, forget=1e-3, batch=1)
    assert_same(outcome(native, x, rule, 16), outcome(recurrent, x, rule, 16), 1e-10)


@pytest.mark.parametrize("eta", [0.0, 1e-3, 0.3, 0.6])
@pytest.mark.parametrize("structure", ["mlp2", "matrix-5x3"])
def test_momentum_that_dies_out_inside_a_chunk(structure: str, eta: float) -> None:
    """Products with what is lost in rounding are saved; some tokens forget nearly all, some write nothing."""
    rule = rule_of(structure, "l2", "l2", "momentum")
    x = inputs_for(rule, 150, position=5, chunk=64, masked=True, rate=4e-3, forget=1e-2, batch=1)
    with torch.no_grad():
        assert x.gates.momentum is not None
        assert x.gates.forget is not None
        x.gates.momentum.mul_(eta / x.gates.momentum.max())
        x.gates.forget[..., 40], x.gates.forget[..., 110] = 1 - 1e-9, 1.0
        x.gates.learning_rate[..., 20:25] = 0
        x.gates.learning_rate[..., 60:64] *= 20
    wanted = outcome(recurrent, x, rule, 64)
    assert_same(outcome(native, x, rule, 64), wanted, 1e-10)
    found = outcome(native, convert(x, torch.Tensor.float), rule, 64)
    assert_same({name: t.double() for name, t in found.items()}, wanted, 1e-4)


def test_rounding_hangs_on_no_later_gate() -> None:
    rule = rule_of("mlp2", "l2", "l2", "momentum")
    x = inputs_for(rule, 64, chunk=64, rate=4e-3, forget=1e-2, batch=1)
    x = convert(x, torch.Tensor.float)
    with torch.no_grad():
        assert x.gates.momentum is not None
        assert x.gates.forget is not None
        x.gates.momentum.fill_(0.05)
        before = outcome(native, x, rule, 64, grads=False)["reads"]
        x.gates.forget[..., 50:], x.gates.momentum[..., 50:] = 0.9999999, 0.99
    assert outcome(native, x, rule, 64, grads=False)["reads"][:, :, :50].equal(before[:, :, :50])


@pytest.mark.parametrize("structure", ["mlp2", "matrix-5x3"])
@given(data=some.data())
@settings(max_examples=12)
def test_any_cut_gives_the_same(structure: str, data: some.DataObject) -> None:
    rule, tokens = rule_of(structure, "l2", "l2", "momentum"), 29
    cuts = data.draw(some.lists(some.integers(0, tokens), max_size=6), label="cuts")
    x = inputs_for(rule, tokens, position=data.draw(some.integers(0, 7), label="position"), chunk=8, masked=True)
    # gradients pass from later pieces to earlier ones through the state, anchors among it
    assert_same(outcome(native, x, rule, 8, cuts=cuts), outcome(recurrent, x, rule, 8), 1e-10)


@pytest.mark.parametrize("structure", ["mlp2", "matrix-5x3"])
def test_a_later_token_moves_no_earlier_read(structure: str) -> None:
    rule = rule_of(structure, "l2", "l2", "momentum")
    x, other, at = inputs_for(rule, 14, position=3, chunk=4), inputs_for(rule, 14, position=3, chunk=4, seed=1), 7
    before = outcome(native, x, rule, 4, grads=False)["reads"]
    with torch.no_grad():
        for name in ("q", "k", "v"):
            getattr(x, name)[:, :, at:] = getattr(other, name)[:, :, at:]
        for name, gates in vars(x.gates).items():
            if gates is not None:
                gates[:, :, at:] = getattr(other.gates, name)[:, :, at:]
    after = outcome(native, x, rule, 4, grads=False)["reads"]
    assert after[:, :, :at].equal(before[:, :, :at])
    assert float((after[:, :, at] - before[:, :, at]).abs().max()) > 1e-3


@pytest.mark.parametrize("structure", ["mlp2", "matrix-5x3"])
def test_a_row_alone_equals_the_row_in_a_batch(structure: str) -> None:
    rule = rule_of(structure, "l2", "l2", "momentum")
    x = inputs_for(rule, 11, position=3, chunk=4, batch=3, masked=True)
    whole, after = native(x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=4)
    for row in range(3):
        one = slice(row, row + 1)
        gates = Gates(**{name: None if g is None else g[one] for name, g in vars(x.gates).items()})
        state = x.state.map(lambda t, one=one: t[one])
        y, end = native(x.q[one], x.k[one], x.v[one], gates, state, rule=rule, chunk_size=4)
        assert y.equal(whole[one])
        assert end.weights.equal(after.weights[one])


@pytest.mark.parametrize("structure", ["mlp3", "matrix-5x3"])
def test_no_unwritten_memory_is_read(structure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor that is made without numbers is full of NaN, and so is the room of earlier calls."""
    take = Room.__init__

    def poisoned(self: Room, size: int, dtype: torch.dtype) -> None:
        take(self, size, dtype)
        self.fill(255)

    monkeypatch.setattr(Room, "__init__", poisoned)
    make = {owner: getattr(owner, name) for owner, name in ((torch, "empty_like"), (torch.Tensor, "new_empty"))}
    monkeypatch.setattr(torch, "empty_like", lambda *a, **o: make[torch](*a, **o).fill_(torch.nan))
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *a, **o: make[torch.Tensor](*a, **o).fill_(torch.nan))
    rule = rule_of(structure, "l2", "l2", "momentum")
    x = inputs_for(rule, 11, position=3, chunk=4, masked=True)
    assert_same(outcome(native, x, rule, 4), outcome(recurrent, x, rule, 4), 1e-10)


def test_room_that_comes_back_is_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of another size, one huge page too small: it was taken, and the kernels wrote behind its end."""
    monkeypatch.setattr(Room, "_idle", [])
    for megabytes in (1, 3, 5, 2, 4, 8, 6, 12, 1):
        room = Room(megabytes << 20, torch.uint8)
        assert room.bytes >= megabytes << 20
        del room


def test_room_is_used_again_and_only_when_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Room, "_idle", [])
    rule = rule_of("mlp2", "l2", "l2", "momentum")
    x, other = (inputs_for(rule, 40, chunk=4, seed=seed) for seed in (0, 1))
    wanted = outcome(recurrent, x, rule, 4)
    y, _ = native(x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=4)
    outcome(native, other, rule, 4)  # between a forward pass and its backward pass
    make = torch.Generator().manual_seed(7)
    bar = torch.randn(y.shape, generator=make, dtype=torch.float64)
    (found,) = torch.autograd.grad(y, x.q, bar)
    reads = recurrent(x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=4)[0]
    torch.testing.assert_close(found, torch.autograd.grad(reads, x.q, bar)[0], rtol=1e-10, atol=1e-12)
    assert_same(outcome(native, x, rule, 4), wanted, 1e-10)
    one = Room(1000, torch.float32)
    address = one.data_ptr()
    two = Room(1000, torch.float32)
    assert two.data_ptr() != address
    del one
    assert Room(1200, torch.float32).data_ptr() == address


def test_no_tokens_change_nothing() -> None:
    rule = rule_of("mlp2-5x3-silu", "l2", "l2", "momentum")
    x = inputs_for(rule, 0, position=3, chunk=4)
    y, after = native(x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=4)
    assert y.shape == (2, 2, 0, 3)
    assert after.position == 3
    assert after.weights.equal(x.state.weights)


def test_the_number_of_threads_changes_no_bit() -> None:
    rule = MemoryRule(WIDE["over"], make_bias("l2"), make_gate("l2"), momentum=True)
    x = convert(inputs_for(rule, 70, chunk=16, batch=3), torch.Tensor.float)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = outcome(native, x, rule, 16)
        torch.set_num_threads(3)
        three = outcome(native, x, rule, 16)
    finally:
        torch.set_num_threads(before)
    assert all(three[name].equal(t) for name, t in one.items())


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_activations_hold_far_from_zero(activation: str) -> None:
    """Keys thousands long drive the hidden layer to where the exponential over- and underflows."""
    rule = MemoryRule(Structure("mlp", 16, 16, 2, 2, activation), make_bias("l2"), make_gate("l2"))
    x = inputs_for(rule, 12, chunk=4, rate=1e-9)
    for t in (x.q, x.k):
        t.detach().mul_(torch.logspace(-2, 4, 12, dtype=t.dtype)[:, None])
    wanted = outcome(recurrent, x, rule, 4)
    found = outcome(native, convert(x, torch.Tensor.float), rule, 4)
    assert all(t.isfinite().all() for t in found.values())
    assert_same({"reads": found["reads"].double()}, {"reads": wanted["reads"]}, 1e-5)


def test_a_nan_reaches_no_earlier_chunk_and_no_other_row() -> None:
    rule = rule_of("mlp2", "l2", "l2", "momentum")
    x = convert(inputs_for(rule, 20, chunk=4), torch.Tensor.float)
    with torch.no_grad():
        x.v[0, 0, 6, 1] = torch.nan
    y = native(x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=4)[0]
    assert y[0, 0, 8:].isnan().all()
    assert y[0, 0, :4].isfinite().all()
    assert y[1].isfinite().all()
    assert y[0, 1].isfinite().all()


def test_surprise_is_that_of_the_chunk_form() -> None:
    rule = rule_of("mlp3", "l2", "l2", "momentum", 0.5)
    x = inputs_for(rule, 21, position=3, chunk=8)
    one, two = (
        run_memory(x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=8, backend=name)[1]
        for name in ("native", "chunkwise")
    )
    assert one is not None
    assert two is not None
    torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)
    assert not one.requires_grad


def test_what_has_no_kernel_is_refused_with_the_reason() -> None:
    cpu = torch.device("cpu")
    assert "vector" in str(refusal(rule_of("vector", "l2", "l2"), cpu))
    assert "LqRetention is not linear" in str(refusal(rule_of("mlp2", "l2", "lq"), cpu))
    assert "Lp has no compiled form" in str(refusal(rule_of("mlp2", "lp", "l2"), cpu))
    assert "on cuda" in str(refusal(rule_of("mlp2", "l2", "l2"), torch.device("cuda")))
    rule = rule_of("mlp2", "lp", "l2")
    with pytest.raises(ConfigError, match="'native' cannot run this memory: the bias Lp has no compiled form"):
        _by_name(inputs_for(rule, 4), rule)


def _by_name(x: Inputs, rule: MemoryRule) -> None:
    run_memory(x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=4, backend="native")


def test_a_second_derivative_is_refused_rather_than_zero() -> None:
    rule = rule_of("mlp2", "l2", "l2")
    x = inputs_for(rule, 9, chunk=4)
    y, _ = native(x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=4)
    with pytest.raises(ConfigError, match="no second derivative"):
        torch.autograd.grad(y.square().sum(), x.k, create_graph=True)


UNWRITTEN = """
import torch
from tests.ops.cases import assert_same, inputs_for, outcome
from tests.ops.native.test_memory import WIDE, native
from titans_seq.ops import MemoryRule, make_bias, make_gate, recurrent
rule = MemoryRule(WIDE["exact"], make_bias("l2"), make_gate("l2"), momentum=True)
for tokens in (96, 70):
    x = inputs_for(rule, tokens, chunk=32, masked=True, rate=4e-3, forget=0.05)
    assert_same(outcome(native, x, rule, 32), outcome(recurrent, x, rule, 32), 1e-10)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="fills fresh memory by glibc's MALLOC_PERTURB_")
def test_no_fresh_memory_of_the_kernels_own_is_read() -> None:
    environment = os.environ | {"MALLOC_PERTURB_": "1"}
    done = subprocess.run([sys.executable, "-c", UNWRITTEN], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
