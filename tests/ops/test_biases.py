"""Attentional biases: error is the slope of the loss, its adjoint is the slope of the error, and their limits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.ops.cases import BIASES, rule_of
from titans_seq.errors import RangeError
from titans_seq.ops import AttentionalBias, make_bias

NEAR, FAR = 0.4, 3.0  # thresholds on either side of errors of length about 1.5
every_bias = pytest.mark.parametrize("bias", BIASES.values(), ids=BIASES)


def sample(bias: AttentionalBias, delta: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor | None]:
    make = torch.Generator().manual_seed(seed)
    r, v = (torch.randn(6, 5, generator=make, dtype=torch.float64) for _ in "rv")
    r = 1.5 * r / r.norm(dim=-1, keepdim=True)
    if bias == BIASES["lp"]:
        r = r.sign() * (2 + r.abs())  # where tanh(10 r) is Sign(r) to the last bit
    threshold = torch.full((6, 1), delta, dtype=torch.float64) if bias.uses_threshold else None
    return r.requires_grad_(), v, threshold if threshold is None else threshold.requires_grad_()


@pytest.mark.parametrize("delta", [NEAR, 1.3, FAR])
@every_bias
def test_error_is_the_slope_of_the_loss(bias: AttentionalBias, delta: float) -> None:
    r, v, threshold = sample(bias, delta)
    (wanted,) = torch.autograd.grad(bias.loss(r, v, threshold).sum(), r)
    found = bias.error(r, v, threshold)
    # lp: the stand-in r^2 + 1e-6 for r^2, of size 4 and more, in the power (p - 1) / 2 = 1
    torch.testing.assert_close(found, wanted, rtol=1e-6 if bias == BIASES["lp"] else 1e-11, atol=1e-11)


@pytest.mark.parametrize("clip", [None, 0.7])
@pytest.mark.parametrize("delta", [NEAR, 1.3, FAR])
@pytest.mark.parametrize("bias", BIASES)
def test_adjoint_is_the_slope_of_the_error(bias: str, delta: float, clip: float | None) -> None:
    rule = rule_of("matrix", bias, "l2", clip=clip)
    r, v, threshold = sample(rule.bias, delta)
    v.requires_grad_()
    error = rule.error(r, v, threshold)
    bar = torch.linspace(-1, 2, error.numel(), dtype=torch.float64).view_as(error)
    leaves = [r, v] if threshold is None else [r, v, threshold]
    wanted = torch.autograd.grad(error, leaves, bar, allow_unused=True)
    found = rule.error_vjp(r.detach(), v.detach(), None if threshold is None else threshold.detach(), bar)
    for name, a, b in zip(("r", "v", "threshold"), found, wanted, strict=False):
        a, b = (torch.zeros(()) if x is None else x for x in (a, b))
        torch.testing.assert_close(*torch.broadcast_tensors(a.double(), b.double()), rtol=1e-10, atol=1e-10, msg=name)


@every_bias
def test_clip_shortens_to_its_length_and_keeps_the_direction(bias: AttentionalBias) -> None:
    r, v, threshold = sample(bias, 1.0)
    name = next(n for n, b in BIASES.items() if b == bias)
    free, clipped = (rule_of("matrix", name, "l2", clip=c).error(r, v, threshold) for c in (None, 0.5))
    lengths = clipped.norm(dim=-1)
    torch.testing.assert_close(lengths, free.norm(dim=-1).clamp(max=0.5), rtol=1e-9, atol=0)
    torch.testing.assert_close(torch.cosine_similarity(free, clipped), torch.ones(6).double())


@pytest.mark.parametrize(("bias", "factor"), [("huber", 1.0), ("huber_norm", 1.0), ("huber_mixture", 2.0)])
def test_hubers_with_a_large_threshold_are_l2(bias: str, factor: float) -> None:
    r, v, _ = sample(BIASES["l2"], FAR)
    delta = torch.full((6, 1), 1e3, dtype=torch.float64)
    torch.testing.assert_close(BIASES[bias].error(r, v, delta), factor * r)


def test_hubers_with_a_small_threshold_keep_only_direction() -> None:
    r, v, _ = sample(BIASES["l2"], NEAR)
    delta = torch.full((6, 1), 1e-3, dtype=torch.float64)
    torch.testing.assert_close(BIASES["huber"].error(r, v, delta), delta * r.sign())
    torch.testing.assert_close(BIASES["huber_norm"].error(r, v, delta).norm(dim=-1, keepdim=True), delta)
    torch.testing.assert_close(BIASES["huber_mixture"].error(r, v, delta), delta * torch.tanh(10 * r))


def lengths_around(bias: str, delta: float = 1.0) -> tuple[float, float]:
    """Length of the error just below and just above ||r|| = delta, r along the diagonal of four axes."""
    unit, threshold = torch.full((1, 4), 0.5, dtype=torch.float64), torch.full((1, 1), delta, dtype=torch.float64)
    below, above = (BIASES[bias].error(unit * (delta + step), unit, threshold) for step in (-1e-7, 1e-7))
    return float(below.norm()), float(above.norm())


def test_huber_of_the_norm_is_continuous() -> None:
    below, above = lengths_around("huber_norm")
    assert below == pytest.approx(above, abs=1e-6)


def test_huber_mixture_jumps_as_printed() -> None:
    """2 delta below; delta sqrt(D) above, less what tanh(10 x) lacks of Sign(x)."""
    below, above = lengths_around("huber_mixture")
    assert below == pytest.approx(2.0, abs=1e-5)
    assert above == pytest.approx(4**0.5, abs=2e-3)
    wide = torch.full((1, 16), 0.2501, dtype=torch.float64)
    found = float(BIASES["huber_mixture"].error(wide, wide, torch.ones(1, 1, dtype=torch.float64)).norm())
    assert found == pytest.approx(16**0.5 * torch.tanh(torch.tensor(2.501)).item(), abs=1e-4)


def test_robust_is_the_worst_shift_in_the_ball() -> None:
    r, v, _ = sample(BIASES["robust"], FAR)
    bias = make_bias("robust", shift=0.3)
    worst = bias.loss(r, v, None) + 0.3**2 / 2  # the constant that the loss leaves out
    for seed in range(50):
        shift = torch.randn(6, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        shift = 0.3 * shift / shift.norm(dim=-1, keepdim=True)
        assert bool((0.5 * (r - shift).square().sum(-1) <= worst + 1e-9).all())
    attained = r + 0.3 * r / r.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(0.5 * attained.square().sum(-1), worst)


@pytest.mark.parametrize("bias", BIASES)
def test_no_error_at_all_is_finite(bias: str) -> None:
    rule = rule_of("matrix", bias, "l2", clip=1.0)
    zero, threshold = torch.zeros(2, 3, dtype=torch.float64), torch.ones(2, 1, dtype=torch.float64)
    delta = threshold if rule.bias.uses_threshold else None
    bars = rule.error_vjp(zero, zero, delta, torch.ones_like(zero))
    assert rule.error(zero, zero, delta).isfinite().all()
    assert all(bar.isfinite().all() for bar in bars if bar is not None)


@pytest.mark.parametrize(
    ("name", "options", "words"), [("lp", {"p": 0.5}, "p must be"), ("robust", {"shift": -1}, "shift must")]
)
def test_options_out_of_range(name: str, options: dict[str, float], words: str) -> None:
    with pytest.raises(RangeError, match=words):
        make_bias(name, **options)
