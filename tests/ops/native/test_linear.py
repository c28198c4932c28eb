"""The compiled linear map against torch's, and what a BLAS does not promise: a row's bits are its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.errors import ConfigError
from titans_seq.ops.linear import Linear
from titans_seq.ops.native import LEVELS, library, load
from titans_seq.ops.native.layers import linear

pytestmark = pytest.mark.skipif(library() is None, reason=f"compiled kernels: {load()[1]}")

SHAPES = [(1, 1, 1), (5, 3, 7), (97, 64, 33), (300, 31, 64), (96, 32, 32), (513, 130, 6), (700, 128, 200)]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize(("rows", "key", "value"), SHAPES)
def test_equals_torch_with_every_gradient(
    rows: int, key: int, value: int, dtype: torch.dtype, rel: float, biased: bool, level: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("TITANS_SEQ_NATIVE", str(level))
    x, weight, bar = (
        normal(rows, key, dtype=dtype),
        normal(value, key, seed=1, dtype=dtype),
        normal(rows, value, seed=2),
    )
    leaves = [x.requires_grad_(), weight.requires_grad_()]
    leaves += [normal(value, seed=3, dtype=dtype).requires_grad_()] if biased else []
    bias = leaves[2] if biased else None
    found = linear(x, weight, bias)
    wanted = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    torch.testing.assert_close(found.double(), wanted, rtol=rel, atol=rel * key**0.5)
    ours = torch.autograd.grad(found, leaves, bar.to(dtype))
    theirs = torch.autograd.grad(wanted, leaves, bar)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=rel, atol=rel * max(rows, value) ** 0.5)


@pytest.mark.parametrize(
    "asked", [(True, False, False), (False, True, True), (False, True, False), (False, False, True)]
)
def test_what_is_frozen_changes_no_other_gradient(asked: tuple[bool, ...]) -> None:
    def gradients(asked: tuple[bool, ...]) -> list[torch.Tensor | None]:
        leaves = [normal(97, 20), normal(33, 20, seed=1), normal(33, seed=3)]
        for leaf, wanted in zip(leaves, asked, strict=True):
            leaf.requires_grad_(wanted)
        linear(*leaves).square().sum().backward()
        return [leaf.grad for leaf in leaves]

    for found, wanted, here in zip(gradients(asked), gradients((True, True, True)), asked, strict=True):
        assert (found is not None) == here
        assert not here or torch.equal(found, wanted)


@pytest.mark.parametrize("rows", [1, 2, 5, 95, 97, 250])
def test_a_row_has_the_same_bits_alone_and_among_others(rows: int) -> None:
    x, weight, bias = (normal(*shape, seed=4, dtype=torch.float32) for shape in ((250, 40), (50, 40), (50,)))
    whole = linear(x, weight, bias)
    for first in (0, 250 - rows):
        assert torch.equal(linear(x[first : first + rows], weight, bias), whole[first : first + rows])


def test_the_number_of_threads_changes_no_bit(threads: None) -> None:
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        leaves = [
            normal(*shape, seed=5, dtype=torch.float32).requires_grad_() for shape in ((4, 260, 40), (50, 40), (50,))
        ]
        y = linear(*leaves)
        found.append([y, *torch.autograd.grad(y.square().sum(), leaves)])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_the_module_is_torchs_where_the_kernel_is_not_for_it() -> None:
    ours, theirs = Linear(24, 12), nn.Linear(24, 12)
    theirs.load_state_dict(ours.state_dict())
    x = normal(3, 7, 24, dtype=torch.float32)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(x), theirs(x))
        assert ours(x).dtype == torch.bfloat16
    assert torch.equal(ours.bfloat16()(x.bfloat16()), theirs.bfloat16()(x.bfloat16()))
    assert ours(x[:0].bfloat16()).shape == (0, 7, 12)


def test_a_second_derivative_is_refused() -> None:
    layer, x = Linear(4, 3), normal(2, 4, dtype=torch.float32).requires_grad_()
    with pytest.raises(ConfigError, match="second derivative"):
        torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
