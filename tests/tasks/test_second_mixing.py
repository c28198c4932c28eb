"""The second mixtures: their formula token by token, in torch and compiled, and what they are for."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from titans_seq.tasks import second_mixing
from titans_seq.tasks.second_mixing import MISSES, RATE, SETS, SPAN, SecondWeights, mix_again, set_of


@pytest.fixture(params=["compiled", "definition"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "definition":
        monkeypatch.setattr(second_mixing, "kernels_for", lambda *tensors: None)
    elif second_mixing.kernels_for(torch.zeros(1)) is None:
        pytest.skip("the compiled kernels are not there")
    return str(request.param)


class Stream:
    """Inputs of a call, and what is carried."""

    def __init__(self, rows: int = 2, length: int = 150, *, alphabet: int = 4, experts: int = 5) -> None:
        generator = torch.Generator().manual_seed(3)
        self.tokens = torch.randint(0, alphabet, (rows, length), generator=generator)
        self.first = torch.randn(rows, length, alphabet, generator=generator).log_softmax(-1)
        self.own = torch.randn(rows, length, alphabet, generator=generator) * 2
        self.scores = torch.randn(rows, length, experts, alphabet, generator=generator) * 2
        self.sets = torch.randint(0, SETS - 1, (rows, length), generator=generator)
        self.mask = torch.rand(rows, length, generator=generator) > 0.1
        self.begin()

    def begin(self) -> None:
        rows, _, experts, alphabet = self.scores.shape
        self.at = 0
        self.state = SecondWeights.none(rows, experts=experts, alphabet=alphabet, device=torch.device("cpu"))

    def read(self, part: slice = slice(None)) -> Tensor:
        given = [x[:, part] for x in (self.first, self.own, self.scores, self.sets)]
        self.at += given[0].shape[1]
        return mix_again(
            *given, tokens=self.tokens[:, part], mask=self.mask[:, part], state=self.state,
            start=self.at - given[0].shape[1],
        )  # fmt: skip


def by_the_formula(x: Stream) -> Tensor:
    """Token by token in float64, the slope from autograd."""
    parts = torch.cat([x.first[:, :, None], x.own[:, :, None], x.scores], 2).double()
    out = torch.empty(*x.first.shape[:2], 2, x.first.shape[-1], dtype=torch.double)
    for row in range(len(parts)):
        u = [torch.zeros(parts.shape[2], dtype=torch.double) for _ in range(SETS)]
        slope = [torch.zeros_like(one) for one in u]
        used = [u[0], u[0]]
        for t in range(parts.shape[1]):
            for m in range(2):
                if t and x.mask[row, t]:
                    number = int(1 + x.sets[row, t - 1]) if m else 0
                    now = used[m].clone().requires_grad_()
                    logits = parts[row, t - 1, 0] + now @ parts[row, t - 1]
                    (-logits.log_softmax(-1)[x.tokens[row, t]]).backward()
                    assert now.grad is not None
                    slope[number] += now.grad
            used = [u[0], u[int(1 + x.sets[row, t])]]
            for m in range(2):
                out[row, t, m] = (parts[row, t, 0] + used[m] @ parts[row, t]).log_softmax(-1)
            if (t + 1) % SPAN == 0:
                u = [one - RATE * step for one, step in zip(u, slope, strict=True)]
                slope = [torch.zeros_like(one) for one in u]
    return out


@pytest.mark.parametrize(("alphabet", "experts"), [(4, 5), (20, 1), (5, 0)])
def test_it_is_the_formula(alphabet: int, experts: int) -> None:
    x = Stream(alphabet=alphabet, experts=experts)
    torch.testing.assert_close(x.read().double(), by_the_formula(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize("cuts", [(0, 1, SPAN, SPAN + 1, 71, 150), (0, 64, 150)])
def test_any_cut_gives_the_same(way: str, cuts: tuple[int, ...]) -> None:
    x = Stream()
    whole, after = x.read(), x.state
    x.begin()
    parts = torch.cat([x.read(slice(a, b)) for a, b in pairwise(cuts)], 1)
    exact = 0 if way == "compiled" else 1e-5
    torch.testing.assert_close(parts, whole, rtol=0, atol=exact)
    torch.testing.assert_close(x.state.weights, after.weights, rtol=0, atol=exact)


def test_no_tokens_leave_all_as_it_was() -> None:
    x = Stream()
    x.read()
    before = {name: value.clone() for name, value in x.state.tensors().items()}
    assert x.read(slice(0, 0)).shape == (2, 0, 2, 4)
    assert all(value.equal(before[name]) for name, value in x.state.tensors().items())


def test_no_token_is_told_of_those_behind_it() -> None:
    x = Stream()
    before = x.read()
    x.begin()
    for values in (x.first, x.own, x.scores):
        values[:, 100:] = values[:, 100:].flip(-1)
    x.tokens[:, 100:] = 3 - x.tokens[:, 100:]
    after = x.read()
    torch.testing.assert_close(after[:, :100], before[:, :100], rtol=0, atol=0)
    assert not after[:, 100:].equal(before[:, 100:])


def test_a_row_alone_equals_the_row_in_a_batch() -> None:
    x = Stream()
    both, alone = x.read(), Stream()
    for name in ("first", "own", "scores", "sets", "tokens", "mask"):
        setattr(alone, name, getattr(alone, name)[1:])
    alone.begin()
    torch.testing.assert_close(alone.read(), both[1:], rtol=0, atol=1e-6)


def test_a_stream_begins_with_the_first_mixture() -> None:
    x = Stream(length=SPAN)
    torch.testing.assert_close(x.read(), x.first[:, :, None].expand(-1, -1, 2, -1), rtol=0, atol=1e-6)


def test_an_expert_that_is_right_is_found() -> None:
    x = Stream(rows=1, length=1000)
    x.mask[:] = True
    x.scores[:, :, 2] = torch.nn.functional.one_hot(x.tokens.roll(-1, 1), 4).float() * 3
    cost = -x.read()[0, :-1, 0].gather(-1, x.tokens[0, 1:, None])
    assert float(cost[-200:].mean()) < 0.3 * float(cost[:SPAN].mean())


def test_sets_by_the_fewest_misses_of_a_copy() -> None:
    found = set_of(torch.tensor([[[0, 0], [3, 0], [8 * 5 + 4, 7], [8 * 19, 12]]]))
    assert found.tolist() == [[MISSES, 3, 4, 0]]
    assert set_of(torch.zeros(1, 2, 0, dtype=torch.long)).tolist() == [[MISSES, MISSES]]
