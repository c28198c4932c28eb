"""The compiled layers around a memory against their plain forms, with gradients, in float64 and float32."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from titans_seq.ops.native import LEVELS, library, load
from titans_seq.ops.native.layers import available, memory_inputs, memory_outputs, rms_norm, swiglu

pytestmark = pytest.mark.skipif(library() is None, reason=f"compiled kernels: {load()[1]}")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_inputs(x: Tensor, tail: Tensor, weight: Tensor, *, heads: int, key: int) -> tuple[Tensor, Tensor, Tensor]:
    width, tokens, padded = weight.shape[0], x.shape[1], torch.cat([tail, x], 1)
    h = sum(padded[:, width - 1 - i : width - 1 - i + tokens] * weight[i] for i in range(width))
    assert isinstance(h, Tensor)
    h = F.silu(h).unflatten(-1, (heads, -1)).transpose(1, 2)
    q, k, v = h.split([key, key, h.shape[-1] - 2 * key], -1)
    return F.normalize(q, dim=-1), F.normalize(k, dim=-1), v


def plain_outputs(reads: Tensor, gate: Tensor, weight: Tensor, *, eps: float) -> Tensor:
    y = F.rms_norm(reads, reads.shape[-1:], eps=eps) * weight
    return y.transpose(1, 2).flatten(2) * F.silu(gate)


def compare(ours: Callable[..., Tensor | tuple[Tensor, ...]], plain: Callable[..., Tensor | tuple[Tensor, ...]],
            *inputs: Tensor, rel: float = 1e-11) -> None:  # fmt: skip
    found, wanted = [], []
    for fn, into in ((ours, found), (plain, wanted)):
        leaves = [x.clone().requires_grad_() for x in inputs]
        outputs = fn(*leaves)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        bars = [normal(*y.shape, seed=9).to(y.dtype) for y in outputs]
        into += [*outputs, *torch.autograd.grad(outputs, leaves, bars)]
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=rel, atol=rel * max(b.detach().abs().flatten().tolist(), default=0))


def cases(batch: int, tokens: int, heads: int, key: int, value: int, width: int) -> dict[str, tuple[Tensor, ...]]:
    channels = heads * (2 * key + value)
    return {
        "inputs": (normal(batch, tokens, channels), normal(batch, width - 1, channels), normal(width, channels)),
        "outputs": (normal(batch, heads, tokens, value), normal(batch, tokens, heads * value), normal(heads, 1, value)),
        "swiglu": (normal(batch, tokens, 2 * value),),
        "rms": (normal(batch, tokens, value), normal(value)),
    }


SHAPES = [(2, 9, 2, 16, 16, 4), (1, 1, 1, 3, 5, 4), (3, 2, 2, 7, 33, 4), (1, 70, 3, 32, 20, 1), (2, 5, 1, 64, 64, 7)]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_equal_their_plain_forms(shape: tuple[int, ...], level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITANS_SEQ_NATIVE", str(level))
    heads, key = shape[2], shape[3]
    pairs: dict[str, tuple[Callable[..., Tensor | tuple[Tensor, ...]], Callable[..., Tensor | tuple[Tensor, ...]]]] = {
        "inputs": (
            lambda x, t, w: memory_inputs(x, t, w, heads=heads, key=key),
            lambda x, t, w: plain_inputs(x, t, w, heads=heads, key=key),
        ),
        "outputs": (
            lambda r, g, w: memory_outputs(r, g, w, eps=1e-6),
            lambda r, g, w: plain_outputs(r, g, w, eps=1e-6),
        ),
        "swiglu": (swiglu, lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1]),
        "rms": (lambda x, w: rms_norm(x, w, eps=1e-6), lambda x, w: F.rms_norm(x, x.shape[-1:], eps=1e-6) * w),
    }
    for name, inputs in cases(*shape).items():
        compare(*pairs[name], *inputs)
        compare(*pairs[name], *(x.float() for x in inputs), rel=1e-5)


def test_reads_may_lie_either_way() -> None:
    reads, gate, weight = cases(2, 9, 2, 16, 16, 4)["outputs"]
    turned = reads.transpose(1, 2).contiguous().transpose(1, 2)
    assert memory_outputs(turned, gate, weight, eps=1e-6).equal(memory_outputs(reads, gate, weight, eps=1e-6))


def test_a_query_of_zeros_stays_zero_and_has_a_finite_gradient() -> None:
    x = torch.zeros(1, 3, 3 * 4, dtype=torch.float64, requires_grad=True)
    q, k, v = memory_inputs(x, x.new_zeros(1, 3, 12), normal(4, 12), heads=1, key=4)
    assert not q.any()
    assert not k.any()
    (bar,) = torch.autograd.grad(v.sum(), x)
    assert bar.isfinite().all()


def test_the_number_of_threads_changes_no_bit() -> None:
    x, weight = (t.float().requires_grad_() for t in (normal(5, 31, 24), normal(24)))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            y = rms_norm(x, weight, eps=1e-6)
            found.append((y, *torch.autograd.grad(y.square().sum(), (x, weight))))
    finally:
        torch.set_num_threads(before)
    assert all(a.equal(b) for a, b in zip(*found, strict=True))


def test_what_they_do_not_take() -> None:
    x = torch.ones(2, 3)
    assert available(x, x)
    assert not available(x.bfloat16())
    assert not available(x, x.double())
    assert not available(x.to("meta"))
    assert not available(x[:0])
