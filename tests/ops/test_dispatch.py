"""Which backend runs, what is refused by name and why, and that a fallback is told once."""

from __future__ import annotations

import logging

import pytest
import torch

from tests.ops.cases import Inputs, inputs_for, rule_of
from titans_seq.errors import ConfigError, UnknownNameError
from titans_seq.memory import memory_names, memory_spec
from titans_seq.ops import MemoryRule, Structure, make_bias, make_gate
from titans_seq.ops import dispatch as module
from titans_seq.ops.dispatch import run_memory, why_not_triton
from titans_seq.ops.native import library
from titans_seq.ops.native.memory import refusal as native_refusal
from titans_seq.ops.triton.limits import refusal, unproven

CPU = torch.device("cpu")


def call(x: Inputs, rule: MemoryRule, backend: str) -> torch.Tensor:
    return run_memory(x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=4, backend=backend)[0]


@pytest.fixture(autouse=True)
def no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def test_unknown_backend() -> None:
    rule = rule_of("matrix", "l2", "l2")
    with pytest.raises(UnknownNameError, match="triton"):
        call(inputs_for(rule, 5), rule, "trition")


@pytest.mark.parametrize("gate", ["l2", "kl"])
def test_auto_on_a_cpu_is_compiled_where_it_can_be_and_else_the_chunk_form(gate: str) -> None:
    rule = rule_of("mlp2", "l2", gate, "momentum")
    x = inputs_for(rule, 9)
    compiled = native_refusal(rule, CPU) is None
    assert compiled == (library() is not None and gate == "l2")
    assert call(x, rule, "auto").equal(call(x, rule, "native" if compiled else "chunkwise"))
    torch.testing.assert_close(call(x, rule, "auto"), call(x, rule, "recurrent"))


def test_by_name_without_a_gpu_says_why() -> None:
    rule = rule_of("matrix", "l2", "l2")
    with pytest.raises(ConfigError, match=r"on cpu, and Triton needs a CUDA device; backend 'auto'"):
        call(inputs_for(rule, 5), rule, "triton")


def fits(**changes: object) -> MemoryRule:
    choices = {"structure": Structure("mlp", 64, 64, depth=2, expansion=2), "bias": make_bias("l2"),
               "retention": make_gate("l2"), "momentum": True, **changes}  # fmt: skip
    return MemoryRule(**choices)  # type: ignore[arg-type]


def why(
    rule: MemoryRule, *, chunk: int = 64, capability: tuple[int, int] = (9, 0), state: torch.dtype = torch.float32,
    products: torch.dtype = torch.bfloat16,
) -> str | None:  # fmt: skip
    return refusal(rule, chunk, capability=capability, products=products, state=state)


def test_the_shape_of_the_issue_has_kernels() -> None:
    assert why(fits()) is None


@pytest.mark.parametrize("name", [n for n in memory_names() if n != "none"])
def test_every_named_memory_has_kernels(name: str) -> None:
    """Also those that keep their state in float64: the kernels take it and give it back."""
    rule = memory_spec(name).rule(64, 64)
    state = torch.float64 if rule.retention.precise else torch.float32
    assert why(rule, state=state) is None
    assert unproven(rule, 64, capability=(9, 0), products=torch.bfloat16) is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (why(fits(retention=make_gate("lq", q=9.0))), "lq retention with q = 9.0 leaves float32's range"),
        (
            why(fits(), products=torch.float64),
            "multiply in torch.float32, torch.bfloat16, torch.float16, found torch.float64",
        ),
        (why(fits(structure=Structure("vector", 64, 64))), "'vector' has no kernel"),
        (why(fits(structure=Structure("mlp", 64, 64, depth=3, expansion=2))), "depth 3"),
        (why(fits(structure=Structure("mlp", 48, 48, depth=2, expansion=2))), "key width 48"),
        (why(fits(structure=Structure("mlp", 64, 64, depth=2, expansion=3))), "hidden width 192"),
        (why(fits(), chunk=48), "chunk_size 48"),
        (why(fits(), capability=(7, 5)), "7.5"),
        (why(fits(), state=torch.float64), "float64"),
    ],
)
def test_reasons(found: str | None, words: str) -> None:
    assert found is not None
    assert words in found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"capability": (8, 6)}, "8.x"),
        ({"products": torch.float32}, "float32 products"),
        ({"chunk_size": 128}, "chunks of 128"),
    ],
)
def test_what_auto_leaves_alone(changes: dict[str, object], words: str) -> None:
    usual = {"chunk_size": 64, "capability": (9, 0), "products": torch.bfloat16}
    assert unproven(fits(), **usual) is None  # type: ignore[arg-type]
    assert words in str(unproven(fits(), **{**usual, **changes}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gate", "momentum", "width", "hidden", "taken"),
    [
        ("kl", True, 64, 256, True),
        ("lq", True, 64, 128, True),
        ("kl", False, 64, 128, False),
        ("lq", False, 64, 128, False),
        ("kl", False, 32, 128, True),
        ("lq", True, 32, 128, False),
        ("lq", True, 64, 64, False),
        ("bregman", False, 64, 256, True),
    ],
)
def test_borders_that_auto_takes(gate: str, momentum: bool, width: int, hidden: int, taken: bool) -> None:
    st = Structure("mlp", width, width, depth=2, expansion=hidden // width)
    rule = fits(structure=st, retention=make_gate(gate), momentum=momentum)
    reason = unproven(rule, 64, capability=(9, 0), products=torch.bfloat16)
    assert (reason is None) == taken, reason


def test_a_fallback_is_told_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_interpreted", lambda: True)
    reason = why_not_triton(rule_of("mlp3", "l2", "l2"), 4, CPU, torch.float32, torch.float32)
    assert reason is not None
    with caplog.at_level(logging.INFO, "titans_seq.ops.dispatch"):
        module._tell(reason)
        module._tell(reason)
    assert caplog.messages == [f"memory runs chunkwise: {reason}"]


def test_the_interpreter_refuses_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_interpreted", lambda: True)
    assert "bfloat16" in str(why_not_triton(fits(), 64, CPU, torch.bfloat16, torch.float32))
    assert why_not_triton(fits(), 64, CPU, torch.float32, torch.float32) is None
