"""A row shared by several programs, against the definition, under Triton's interpreter.

Run by `test_interpreter.py`, in a process of its own. The interpreter runs one program after another, so that programs
exchange their sums between launches. Where they wait for each other inside one, each gets a process of its own here,
over shared memory.
"""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.ops.cases import Inputs, assert_same, convert, outcome
from tests.ops.triton.interpreted import CHUNK, case, convert_all, poisoned, rule_of
from titans_seq.errors import ConfigError
from titans_seq.ops import Gates, MemoryRule, MemoryState, Structure, make_bias, make_gate, recurrent
from titans_seq.ops.dispatch import run_memory
from titans_seq.ops.triton import memory as kernels
from titans_seq.ops.triton import operation, split
from titans_seq.ops.triton.split import Split, split_refusal

__all__ = ["poisoned"]  # outputs hold NaN before a kernel fills them, here as there
WIDE = Structure("mlp", 16, 16, depth=2, expansion=4)


def check(rule: MemoryRule, x: Inputs, shared: Split, *, cuts: Iterable[int] = ()) -> None:
    def op(q: Tensor, k: Tensor, v: Tensor, gates: Gates, state: MemoryState, *, rule: MemoryRule, chunk_size: int):  # type: ignore[no-untyped-def]
        call = {"rule": rule, "chunk_size": chunk_size, "backend": "triton", "split": shared}
        y, _, after = run_memory(q, k, v, gates, state, **call)  # type: ignore[arg-type]
        return y, after

    found = convert_all(outcome(op, x, rule, CHUNK, cuts=cuts))
    assert_same(found, outcome(recurrent, convert(x, torch.Tensor.double), rule, CHUNK), 2e-5)


@pytest.mark.parametrize(
    ("slices", "momentum", "position", "tokens"),
    [(2, False, 0, 19), (4, False, 5, 11), (2, True, 5, 30), (4, True, 0, 19), (4, True, 5, 30)],
)
def test_slices_of_two_layers(slices: int, momentum: bool, position: int, tokens: int) -> None:
    rule = MemoryRule(WIDE, make_bias("l2"), make_gate("l2"), momentum)
    check(rule, case(rule, tokens, position=position), Split(slices, "steps"))


@pytest.mark.parametrize(("structure", "momentum"), [("matrix-32x16", True), ("mlp1", False)])
def test_slices_of_one_layer(structure: str, momentum: bool) -> None:
    """Of its key columns; matrix memories shorten their errors to a length, which runs through all slices."""
    rule = rule_of(structure, "l2", "l2", momentum=momentum, clip=3.0 if structure != "mlp1" else None)
    check(rule, case(rule, 19, heads=2), Split(2, "steps"))


@pytest.mark.parametrize(("bias", "position", "tokens"), [("lp", 5, 3), ("huber_mixture", 0, 17)])
def test_slices_under_other_biases(bias: str, position: int, tokens: int) -> None:
    rule = rule_of("mlp2", bias, "none", momentum=False)
    check(rule, case(rule, tokens, position=position, seed=1), Split(2, "steps"))


class Crowd:
    """A kernel whose programs run side by side."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.arg_names, self.__name__ = kernel, kernel.arg_names, kernel.__name__
        self.launches = 0

    def __getitem__(self, grid: tuple[int]) -> Any:
        return functools.partial(self.run, grid[0])

    def run(self, programs: int, **arguments: Any) -> None:
        for x in arguments.values():
            if isinstance(x, Tensor):
                x.share_memory_()
        fork = multiprocessing.get_context("fork")
        crowd = [fork.Process(target=self.alone, args=(i, programs, arguments)) for i in range(programs)]
        for process in crowd:
            process.start()
        for process in crowd:
            process.join(120)
            process.kill()
        assert [process.exitcode for process in crowd] == [0] * programs
        self.launches += 1

    def alone(self, program: int, programs: int, arguments: dict[str, Any]) -> None:
        """In a forked process: one program of the grid."""
        from triton.runtime import interpreter

        place, size = interpreter.interpreter_builder.set_grid_idx, interpreter.interpreter_builder.set_grid_dim
        interpreter.interpreter_builder.set_grid_idx = lambda *_: place(program, 0, 0)
        interpreter.interpreter_builder.set_grid_dim = lambda *_: size(programs, 1, 1)
        interpreter.GridExecutor._restore_args_dev = lambda *_: None  # it would write old numbers over the others' new
        self.kernel[(1,)](**arguments)


@pytest.mark.parametrize(("structure", "heads"), [("mlp2", 2), ("matrix-32x16", 1)])
def test_programs_that_wait_for_each_other(structure: str, heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four or two programs in one launch of three chunks, forward and backward."""
    crowds = [Crowd(operation.write_split_forward), Crowd(operation.write_split_backward)]
    monkeypatch.setattr(operation, "write_split_forward", crowds[0])
    monkeypatch.setattr(operation, "write_split_backward", crowds[1])
    monkeypatch.setattr(split, "processors_of", lambda _: 4)
    rule = rule_of(structure, "l2", "l2", momentum=True)
    check(rule, case(rule, 48, heads=heads), Split(2, "barrier"))
    assert [crowd.launches for crowd in crowds] == [1, 1]


def test_any_cut_and_states_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = rule_of("mlp2", "l2", "l2", momentum=True)
    monkeypatch.setattr(kernels, "_STATES", 1)
    check(rule, case(rule, 33), Split(2, "steps"), cuts=[7])


def test_packed_sequences_of_several_lengths() -> None:
    """Rows that end before others: 5 and 17 tokens, as one program per row reads them."""
    rule, edges = rule_of("mlp1", "l2", "l2", momentum=True), torch.tensor([0, 5, 22])
    x = case(rule, 22, heads=2)
    start = x.state.weights.detach().expand(2, -1, -1).clone().requires_grad_()
    leaves = [x.q, x.k, x.v, x.gates.learning_rate, x.gates.forget, x.gates.momentum, start]
    ways = []
    for shared in (None, Split(2, "steps")):
        y, end = kernels.packed_memory(
            x.q, x.k, x.v, x.gates, start, torch.zeros_like(start), cu_seqlens=edges, rule=rule, chunk_size=CHUNK,
            split=shared,
        )  # fmt: skip
        ways.append([y, end, *torch.autograd.grad(y.square().sum() + end.square().sum(), leaves)])
    for found, wanted in zip(*ways, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_shared() -> None:
    rule = MemoryRule(WIDE, make_bias("l2"), make_gate("l2"), True)
    kl = replace(rule, retention=make_gate("kl"), momentum=False)

    def reason(rule: MemoryRule, shared: Split) -> str:
        return split_refusal(rule, shared, rows=40, processors=132) or ""

    assert "KLRetention" in reason(kl, Split(2))
    assert reason(rule, Split(3)) == "64 columns cannot be cut into 3 slices (1, 2, 4 can)"
    assert reason(rule, Split(8)).endswith("(1, 2, 4 can)")
    assert "on 132 multiprocessors" in reason(rule, Split(4, "barrier"))
    assert not reason(rule, Split(4, "steps"))
    assert not reason(rule, Split(2, "barrier"))
    for slices, exchange in ((0, "steps"), (2, "post")):
        with pytest.raises(ConfigError, match=r"at least 1|steps, barrier"):
            Split(slices, exchange)
    x = case(rule, 3)
    for backend, shared in (("triton", Split(2)), ("triton", Split(3, "steps")), ("chunkwise", Split(2))):
        with pytest.raises(ConfigError, match="split"):
            run_memory(x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=CHUNK, backend=backend, split=shared)
