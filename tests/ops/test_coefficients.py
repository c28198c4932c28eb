"""The chunk's coefficients against direct products and the recurrence of one number; gates at their ends."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from titans_seq.ops import Gates
from titans_seq.ops.coefficients import coefficients, ratios

C = 7


def gate(low: float, high: float, seed: int) -> Tensor:
    make = torch.Generator().manual_seed(seed)
    return (low + (high - low) * torch.rand(2, 3, C, generator=make, dtype=torch.float64)).requires_grad_()


def gates(*, forget: bool = True, momentum: bool = True, masked: bool = False) -> Gates:
    mask = torch.rand(2, 3, C, generator=torch.Generator().manual_seed(9)) > 0.4 if masked else None
    return Gates(gate(0, 1, 0), gate(0, 0.9, 1) if forget else None, gate(0, 0.9, 2) if momentum else None, None, mask)


def run(g: Gates, a: Tensor, s: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A_t of every token, and A and S at the end, for one number per row: design 3.1. Masked tokens are skipped."""
    reads = []
    for t in range(C):
        live = torch.ones(2, 3, dtype=torch.bool) if g.mask is None else g.mask[..., t]
        eta = 0.0 if g.momentum is None else g.momentum[..., t]
        alpha = 0.0 if g.forget is None else g.forget[..., t]
        s_new = eta * s - g.learning_rate[..., t] * u[..., t]
        a, s = torch.where(live, (1 - alpha) * a + s_new, a), torch.where(live, s_new, s)
        reads.append(a)
    return torch.stack(reads, -1), a, s


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("momentum", [False, True], ids=["descent", "momentum"])
@pytest.mark.parametrize("forget", [False, True], ids=["keeps", "forgets"])
def test_they_unroll_the_recurrence(forget: bool, momentum: bool, masked: bool) -> None:
    g = gates(forget=forget, momentum=momentum, masked=masked)
    a, s, u = (torch.randn(2, 3, *n, dtype=torch.float64) for n in ((), (), (C,)))
    if not momentum:
        s = torch.zeros_like(s)
    reads, end, end_s = run(g, a, s, u)
    c = coefficients(g)
    parts = torch.stack([a, s], -1)[..., : c.fade.shape[-1]]
    found = (c.fade * parts[..., None, :]).sum(-1) - (c.g @ u.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(found, reads)
    at_end = c.keep * parts - (c.share * u.unsqueeze(-1)).sum(-2)
    if c.push is not None:
        at_end = at_end + torch.stack([c.push * s, torch.zeros_like(s)], -1)
        torch.testing.assert_close(at_end[..., 1], end_s)
    torch.testing.assert_close(at_end[..., 0], end)
    live = g.learning_rate if g.mask is None else g.learning_rate * g.mask
    torch.testing.assert_close(c.written, live.sum(-1))


def test_ratios_are_products_between_two_tokens() -> None:
    kept = gate(0.1, 1, 3)[0, 0]
    found = ratios(kept.log())
    for t in range(C):
        for i in range(C):
            wanted = kept[i + 1 : t + 1].prod() if i <= t else torch.zeros(()).double()
            torch.testing.assert_close(found[t, i], wanted)


def test_ratios_do_not_underflow_with_the_products() -> None:
    """After 1e-30 thirteen times the product is 0 in float32, but neighbours still keep 1e-30 of each other."""
    found = ratios(torch.full((13,), 1e-30).log())
    torch.testing.assert_close(found.diagonal(-1), torch.full((12,), 1e-30), rtol=1e-4, atol=0)
    assert found.diagonal().eq(1).all()
    assert found.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("alpha", "eta"), [(1.0, 0.5), (0.3, 0.0), (1.0, 0.0), (0.0, 0.0), (1.0, 1.0)])
def test_gates_at_their_ends_are_finite_with_their_gradients(alpha: float, eta: float, dtype: torch.dtype) -> None:
    rate = torch.rand(1, 1, C, dtype=dtype, requires_grad=True)
    forget = torch.full((1, 1, C), alpha, dtype=dtype, requires_grad=True)
    momentum = torch.full((1, 1, C), eta, dtype=dtype, requires_grad=True)
    c = coefficients(Gates(rate, forget, momentum))
    assert c.push is not None
    parts = [c.g, c.fade, c.share, c.keep, c.push, c.written]
    assert all(t.isfinite().all() for t in parts)
    bars = torch.autograd.grad(sum((t.sum() for t in parts), torch.zeros((), dtype=dtype)), [rate, forget, momentum])
    assert all(bar.isfinite().all() for bar in bars)
    if alpha == 1:
        assert float(c.fade[..., 0].detach().abs().max()) < 1e-6
    if eta == 0:
        assert float(c.fade[..., 1].detach().abs().max()) < 1e-30


@pytest.mark.parametrize("name", ["learning_rate", "forget", "momentum"])
def test_gradients_of_the_gates(name: str) -> None:
    g, u = gates(), torch.randn(2, 3, C, dtype=torch.float64)
    a, s = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    leaf = getattr(g, name)
    reads, _, _ = run(g, a, s, u)
    (wanted,) = torch.autograd.grad(reads.square().sum(), leaf)
    c = coefficients(g)
    found = (c.fade * torch.stack([a, s], -1)[..., None, :]).sum(-1) - (c.g @ u.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(torch.autograd.grad(found.square().sum(), leaf)[0], wanted, rtol=1e-9, atol=1e-9)
