"""The two five-line tests: change a token and no earlier output moves; a row alone equals the row in a batch."""

from __future__ import annotations

import pytest
import torch

from tests.models.cases import PAIRS, build, tokens

every_pair = pytest.mark.parametrize(("variant", "memory"), PAIRS)


@every_pair
@pytest.mark.parametrize("at", [5, 8, 22])
def test_a_later_token_moves_no_earlier_output(variant: str, memory: str, at: int) -> None:
    encoder, x = build(variant, memory).double(), tokens(1, 27, dtype=torch.float64)
    changed = x.clone()
    changed[:, at] += 3
    with torch.no_grad():
        a, b = encoder(x)[0], encoder(changed)[0]
    torch.testing.assert_close(a[:, :at], b[:, :at], rtol=0, atol=1e-12)
    assert float((a[:, at] - b[:, at]).abs().max()) > 1e-3
    if memory != "none":
        assert float((a[:, -1] - b[:, -1]).abs().max()) > 1e-9  # it is still remembered at the end


@every_pair
def test_an_output_has_no_slope_in_a_later_token(variant: str, memory: str) -> None:
    encoder, x = build(variant, memory).double(), tokens(1, 19, dtype=torch.float64).requires_grad_()
    (bar,) = torch.autograd.grad(encoder(x)[0][:, 10].sum(), x)
    assert float(bar[:, 11:].abs().max()) < 1e-12
    assert float(bar[:, 10].abs().max()) > 1e-3


@every_pair
def test_a_row_alone_equals_the_row_in_a_batch(variant: str, memory: str) -> None:
    encoder, x = build(variant, memory), tokens(3, 21)
    with torch.no_grad():
        together = encoder(x)[0]
        for row in range(3):
            torch.testing.assert_close(encoder(x[row : row + 1])[0], together[row : row + 1], rtol=0, atol=1e-5)
