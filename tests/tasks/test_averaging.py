"""The average over predictors: its formula token by token, in torch and compiled, and what it is for."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor

from titans_seq.tasks import averaging
from titans_seq.tasks.averaging import KEEP, MIXTURES, PRIOR, average, predictors


@pytest.fixture(params=["compiled", "definition"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "definition":
        monkeypatch.setattr(averaging, "kernels_for", lambda *tensors: None)
    elif averaging.kernels_for(torch.zeros(1)) is None:
        pytest.skip("the compiled kernels are not there")
    return str(request.param)


class Stream:
    """Inputs of a call, and what is carried."""

    def __init__(self, rows: int = 2, length: int = 150, *, alphabet: int = 4, orders: int = 8) -> None:
        generator = torch.Generator().manual_seed(3)
        self.orders, self.tokens = orders, torch.randint(0, alphabet, (rows, length), generator=generator)
        self.mixed = torch.randn(rows, length, MIXTURES, alphabet, generator=generator).log_softmax(-1)
        self.own = torch.randn(rows, length, alphabet, generator=generator) * 2
        self.scores = torch.randn(rows, length, orders + 3, alphabet, generator=generator) * 2
        self.mask = torch.rand(rows, length, generator=generator) > 0.1
        self.begin()

    def begin(self) -> None:
        rows, _, alphabet = self.own.shape
        self.evidence = torch.zeros(rows, predictors(self.orders))
        self.last = torch.zeros(rows, predictors(self.orders), alphabet)

    def read(self, part: slice = slice(None)) -> Tensor:
        return average(
            self.mixed[:, part], self.own[:, part], self.scores[:, part], orders=self.orders,
            tokens=self.tokens[:, part], mask=self.mask[:, part], evidence=self.evidence, last=self.last,
        )  # fmt: skip


def by_the_formula(x: Stream) -> Tensor:
    each = torch.cat([x.mixed, x.own[:, :, None], x.scores[:, :, 1 : min(6, x.orders)]], 2)
    each = each.double().log_softmax(-1)
    out = torch.empty(x.own.shape, dtype=torch.double)
    for row in range(len(out)):
        r = torch.zeros(each.shape[2], dtype=torch.double)
        for t in range(out.shape[1]):
            if x.mask[row, t]:
                r = KEEP * r + (each[row, t - 1, :, x.tokens[row, t]] if t else 0.0)
            weight = (r - PRIOR * (torch.arange(len(r)) >= MIXTURES)).softmax(0)
            out[row, t] = (weight[:, None] * each[row, t].exp()).sum(0).log()
    return out


@pytest.mark.parametrize(("alphabet", "orders"), [(4, 8), (4, 3), (20, 1), (5, 12)])
def test_it_is_the_formula(alphabet: int, orders: int) -> None:
    x = Stream(alphabet=alphabet, orders=orders)
    found = x.read()
    torch.testing.assert_close(found.double(), by_the_formula(x), rtol=0, atol=2e-4)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(2, 150), rtol=0, atol=1e-5)


def test_any_cut_gives_the_same(way: str) -> None:
    x = Stream()
    whole = x.read()
    x.begin()
    parts = torch.cat([x.read(slice(a, b)) for a, b in ((0, 1), (1, 64), (64, 71), (71, 150))], 1)
    torch.testing.assert_close(parts, whole, rtol=0, atol=0 if way == "compiled" else 1e-4)


def test_no_tokens_leave_all_as_it_was() -> None:
    x = Stream()
    x.read()
    before = x.evidence.clone()
    assert x.read(slice(0, 0)).shape == (2, 0, 4)
    assert x.evidence.equal(before)


def test_no_token_is_told_of_those_behind_it() -> None:
    x = Stream()
    before = x.read()
    x.begin()
    for values in (x.mixed, x.own, x.scores):
        values[:, 100:] = values[:, 100:].flip(-1)
    x.tokens[:, 100:] = 3 - x.tokens[:, 100:]
    after = x.read()
    torch.testing.assert_close(after[:, :100], before[:, :100], rtol=0, atol=0)
    assert not after[:, 100:].equal(before[:, 100:])


def test_a_row_alone_equals_the_row_in_a_batch() -> None:
    x = Stream()
    both, alone = x.read(), Stream()
    for name in ("mixed", "own", "scores", "tokens", "mask"):
        setattr(alone, name, getattr(alone, name)[1:])
    alone.begin()
    assert alone.read().equal(both[1:])


def test_where_the_mixture_is_wrong_the_others_are_believed() -> None:
    x = Stream(rows=1, length=300)
    wrong = torch.full((1, 300, 4), log(0.01)).scatter(-1, ((x.tokens.roll(-1) + 1) % 4)[..., None], log(0.97))
    x.mixed = wrong[:, :, None].expand(-1, -1, MIXTURES, -1)
    x.own, x.scores = torch.zeros(1, 300, 4), torch.zeros_like(x.scores)
    cost = -x.read()[0, :-1].gather(-1, x.tokens[0, 1:, None])
    assert float(cost[0]) > 2.5
    assert float(cost[10:].max()) < log(4) + 0.01
