"""Every wrong call of a memory operation is told apart in words: which tensor, what was expected, what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.ops.cases import Inputs, inputs_for, rule_of
from titans_seq.errors import DtypeError, RangeError, ShapeError, TitansError, UnknownNameError
from titans_seq.ops import chunkwise, make_bias, make_gate, recurrent
from titans_seq.ops.dispatch import check_backend, run_memory

Change = Callable[[Inputs], Inputs]
OPS = {"chunkwise": chunkwise, "recurrent": recurrent}
RULE = rule_of("matrix-5x3", "huber", "l2", "momentum")


def gates(**changes: object) -> Change:
    return lambda x: replace(x, gates=replace(x.gates, **changes))


def state(**changes: object) -> Change:
    return lambda x: replace(x, state=replace(x.state, **changes))


def zeros(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.zeros(shape, dtype=dtype)


WRONG: dict[str, tuple[Change, type[TitansError], str]] = {
    "q without heads": (lambda x: replace(x, q=zeros(2, 6, 5)), ShapeError, r"q must be \(batch, heads, tokens"),
    "q of another width": (lambda x: replace(x, q=zeros(2, 2, 6, 4)), ShapeError, r"q must be \(2, 2, 6, 5\)"),
    "k shorter": (lambda x: replace(x, k=zeros(2, 2, 5, 5)), ShapeError, r"k must be .*found \(2, 2, 5, 5\)"),
    "v of the key's width": (lambda x: replace(x, v=zeros(2, 2, 6, 5)), ShapeError, r"v must be \(2, 2, 6, 3\)"),
    "v in another dtype": (lambda x: replace(x, v=x.v.float()), DtypeError, "v is torch.float32 .*; convert v"),
    "rate in another dtype": (gates(learning_rate=zeros(2, 2, 6, dtype=torch.float32)), DtypeError, "learning_rate is"),
    "rate per row": (gates(learning_rate=zeros(2, 6)), ShapeError, r"learning_rate must be \(2, 2, 6\)"),
    "negative rate": (gates(learning_rate=zeros(2, 2, 6) - 0.5), RangeError, "learning_rate must be at least 0.*-0.5"),
    "rate not a number": (gates(learning_rate=zeros(2, 2, 6) + torch.nan), RangeError, "learning_rate .*nan"),
    "forget above one": (gates(forget=zeros(2, 2, 6) + 1.5), RangeError, r"forget must be in \[0, 1\] .*1\.5"),
    "momentum above one": (gates(momentum=zeros(2, 2, 6) + 2), RangeError, r"momentum must be in \[0, 1\]"),
    "no momentum": (gates(momentum=None), RangeError, "momentum=True, but none momentum gate"),
    "no threshold": (gates(threshold=None), RangeError, "Huber needs threshold gate"),
    "negative threshold": (gates(threshold=zeros(2, 2, 6) - 1), RangeError, "threshold must be positive"),
    "mask per head": (gates(mask=zeros(2, 2, 6).bool()), ShapeError, r"mask must be \(2, 6\)"),
    "mask of numbers": (gates(mask=zeros(2, 6)), DtypeError, "mask must be bool"),
    "weights of another size": (state(weights=zeros(2, 2, 14)), ShapeError, r"state\.weights must be \(2, 2, 15\)"),
    "anchor of another batch": (state(anchor=zeros(1, 2, 15)), ShapeError, r"state\.anchor must be \(2, 2, 15\)"),
    "state of another rule": (state(momentum=None), ShapeError, "the state was made for another rule"),
}  # fmt: skip


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
@pytest.mark.parametrize("case", WRONG)
def test_wrong_calls(case: str, op: Callable[..., object]) -> None:
    change, error, words = WRONG[case]
    x = change(inputs_for(RULE, 6))
    with pytest.raises(error, match=words):
        op(x.q, x.k, x.v, x.gates, x.state, rule=RULE, chunk_size=4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_fast_weights_need_float32(dtype: torch.dtype) -> None:
    x = inputs_for(RULE, 6, dtype=dtype)
    with pytest.raises(DtypeError, match=f"must be float32 or float64, found {dtype}"):
        chunkwise(x.q, x.k, x.v, x.gates, x.state, rule=RULE, chunk_size=4)


@pytest.mark.parametrize(
    ("rule", "extra", "words"),
    [
        (rule_of("matrix", "l2", "none"), "forget", "retention 'none' forgets nothing; pass forget=None"),
        (rule_of("matrix", "l2", "l2"), "momentum", "momentum=False, but one momentum gate"),
        (rule_of("matrix", "l2", "l2"), "threshold", "L2 takes no threshold"),
    ],
    ids=["forget", "momentum", "threshold"],
)
def test_gates_that_the_rule_does_not_take(rule: object, extra: str, words: str) -> None:
    x = inputs_for(rule, 6)  # type: ignore[arg-type]
    x = gates(**{extra: zeros(2, 2, 6) + 0.5})(x)
    with pytest.raises(RangeError, match=words):
        chunkwise(x.q, x.k, x.v, x.gates, x.state, rule=rule, chunk_size=4)  # type: ignore[arg-type]


def test_a_chunk_holds_a_token() -> None:
    x = inputs_for(RULE, 6)
    with pytest.raises(RangeError, match="chunk_size must be at least 1, found 0"):
        chunkwise(x.q, x.k, x.v, x.gates, x.state, rule=RULE, chunk_size=0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: make_bias("huber_nrom"), "unknown attentional bias 'huber_nrom'; did you mean 'huber_norm'"),
        (lambda: make_gate("elasticnet"), "unknown retention gate 'elasticnet'; did you mean 'elastic_net'"),
        (
            lambda: check_backend("chunk"),
            r"unknown memory backend 'chunk'.*known: auto, chunkwise, native, recurrent, triton",
        ),
    ],
    ids=["bias", "gate", "backend"],
)
def test_unknown_names_offer_the_nearest(make: Callable[[], object], words: str) -> None:
    with pytest.raises(UnknownNameError, match=words):
        make()


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
def test_a_clip_is_positive(clip: float) -> None:
    with pytest.raises(RangeError, match="max_error must be positive"):
        rule_of("matrix", "l2", "l2", clip=clip)


@pytest.mark.parametrize("backend", ["auto", "chunkwise", "recurrent"])
def test_every_backend_computes_the_same(backend: str) -> None:
    x = inputs_for(RULE, 6, masked=True)
    y, surprise, _ = run_memory(x.q, x.k, x.v, x.gates, x.state, rule=RULE, chunk_size=4, backend=backend)
    wanted, _ = recurrent(x.q, x.k, x.v, x.gates, x.state, rule=RULE, chunk_size=4)
    torch.testing.assert_close(y, wanted)
    assert (surprise is None) == (backend == "recurrent")
