"""The products of one layer: each adjoint against autograd, each stacked form against its parts one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from titans_seq.ops.layers import Dense, Diagonal

ROWS, TOKENS = 3, 7
LAYERS = {
    "widening": (Dense(widens=True), 4, 6),
    "narrowing": (Dense(widens=False), 6, 4),
    "diagonal": (Diagonal(), 5, 5),
}


@pytest.fixture(params=LAYERS, ids=list(LAYERS))
def layer(request: pytest.FixtureRequest) -> tuple[Dense | Diagonal, int, int]:
    return LAYERS[request.param]


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def matrices(layer: Dense | Diagonal, inner: int, out: int, count: int) -> list[Tensor]:
    shape = (1, inner) if isinstance(layer, Diagonal) else (out, inner)
    return [draw(ROWS, *shape) for _ in range(count)]


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found.detach(), wanted.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_stack_gives_its_parts_back(layer, parts: int) -> None:
    one, inner, out = layer
    whole = matrices(one, inner, out, parts)
    stack = one.stack(whole)
    for r, part in enumerate(whole):
        close(one.part(stack, r), part)
    scale = draw(ROWS, parts)
    close(one.part(stack * one.per_part(scale), parts - 1), whole[-1] * scale[:, -1, None, None])
    products = one.inner_products(stack, stack)
    close(products, torch.stack([(p * p).sum((-2, -1)) for p in whole], -1))


@pytest.mark.parametrize("parts", [1, 2])
def test_read(layer, parts: int) -> None:
    one, inner, out = layer
    whole, h, fade = matrices(one, inner, out, parts), draw(ROWS, TOKENS, inner), draw(ROWS, TOKENS, parts)
    stack = one.stack(whole).detach().requires_grad_()
    z, kept = one.read(h, fade, stack)
    close(z, sum(fade[..., r, None] * one.forward(h, w) for r, w in enumerate(whole)))
    zbar = torch.randn_like(z)
    wanted = torch.autograd.grad(z, (h, fade, stack), zbar)
    for found, want in zip(one.read_vjp(zbar, h, fade, stack, kept), wanted, strict=True):
        close(found, want)


@pytest.mark.parametrize("parts", [1, 2])
def test_write(layer, parts: int) -> None:
    one, inner, out = layer
    whole, share = matrices(one, inner, out, parts), draw(ROWS, TOKENS, parts)
    a, d = draw(ROWS, TOKENS, inner), draw(ROWS, TOKENS, out)
    stack = one.stack(whole)
    wanted = one.stack([w - one.outer(d * share[..., r, None], a) for r, w in enumerate(whole)])
    written = stack.detach().clone()
    one.write_(written, d.detach(), a.detach(), share.detach())
    close(written, wanted)
    bar, dbar, abar = torch.randn_like(stack), torch.randn_like(d), torch.randn_like(a)
    d_want, a_want, share_want = torch.autograd.grad(wanted, (d, a, share), bar)
    found = one.write_vjp(bar, d.detach(), a.detach(), share.detach(), dbar, abar)
    for x, y in zip(found, (dbar + d_want, abar + a_want, share_want), strict=True):
        close(x, y)


def test_recall(layer) -> None:
    one, inner, out = layer
    h, a, d = draw(ROWS, TOKENS, inner), draw(ROWS, TOKENS, inner), draw(ROWS, TOKENS, out)
    g = draw(ROWS, TOKENS, TOKENS)
    z = torch.zeros(ROWS, TOKENS, out, dtype=torch.float64)
    for j in range(TOKENS):  # the definition: one rank-one write after another
        write = one.outer(d[:, j : j + 1], a[:, j : j + 1])
        z = z + g[:, :, j, None] * one.forward(h, write)
    close(one.recall(*(x.detach() for x in (h, a, d, g))), z)
    zbar = torch.randn_like(z)
    wanted = torch.autograd.grad(z, (h, a, d, g), zbar)
    for found, want in zip(one.recall_vjp(zbar, *(x.detach() for x in (h, a, d, g))), wanted, strict=True):
        close(found, want)


def test_in_place_sums_and_lengths(layer) -> None:
    one, inner, out = layer
    (w,) = (m.detach() for m in matrices(one, inner, out, 1))
    a, d = (draw(ROWS, TOKENS, width).detach() for width in (inner, out))
    forward, back, outer = torch.randn_like(d), torch.randn_like(a), torch.randn_like(w)
    wanted = forward + one.forward(a, w), back + one.back(d, w), outer + one.outer(d, a)
    one.add_forward_(forward, a, w)
    one.add_back_(back, d, w)
    one.add_outer_(outer, d, a)
    for found, want in zip((forward, back, outer), wanted, strict=True):
        close(found, want)
    lengths = [one.outer(d[:, j : j + 1], a[:, j : j + 1]).square().sum((-2, -1)) for j in range(TOKENS)]
    close(one.squared_length(d, a), torch.stack(lengths, -1))
