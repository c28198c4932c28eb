"""Named memories at chunk_size = 1 against the papers' own recurrences, written here from the papers.

Every reference reads one row and head: k, q (T, D), v (T, D_v), and gives reads (T, D_v). Matrices are (D_v, D).
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from titans_seq.memory import memory_spec
from titans_seq.ops import Gates, MemoryRule, MemoryState, chunkwise, recurrent

T, D, DV = 14, 6, 4
OPS = {"chunkwise": chunkwise, "recurrent": recurrent}
every_op = pytest.mark.parametrize("op", OPS.values(), ids=OPS)


class Row:
    """One row's tokens and gates, and the memory's own start."""

    def __init__(self, rule: MemoryRule, seed: int = 0) -> None:
        make = torch.Generator().manual_seed(seed)
        st = rule.structure

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=make, dtype=torch.float64)

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(T, generator=make, dtype=torch.float64)

        self.rule = rule
        self.q, self.k = (F.normalize(normal(T, st.key_width), dim=-1) for _ in "qk")
        self.v = normal(T, st.value_width)
        self.rate, self.forget, self.momentum = uniform(0.05, 0.4), uniform(0, 0.3), uniform(0.1, 0.9)
        self.threshold = uniform(1.0, 3.0)
        self.start = rule.retention.initial(st, make).double() + 0.1 * normal(st.size)

    def read(self, op: object, *, rate: Tensor | None = None, forget: Tensor | None = None, v: Tensor | None = None):
        """Reads of ours, (T, D_v); gates that the rule does not take are left out."""
        assert callable(op)
        rule, one = self.rule, (None, None)
        gates = Gates(
            (self.rate if rate is None else rate)[one],
            (self.forget if forget is None else forget)[one] if rule.retention.forgets else None,
            self.momentum[one] if rule.momentum else None,
            self.threshold[one] if rule.bias.uses_threshold else None,
        )
        state = MemoryState.fresh(rule, self.start[None], 1)
        v = self.v if v is None else v
        y, _ = op(self.q[one], self.k[one], v[one], gates, state, rule=rule, chunk_size=1)
        return y[0, 0]


def matrix_row(name: str) -> tuple[Row, Tensor]:
    row = Row(memory_spec(name).rule(D, DV))
    return row, row.start.view(DV, D)


def same(found: Tensor, wanted: Tensor, rtol: float = 1e-10) -> None:
    torch.testing.assert_close(found, wanted, rtol=rtol, atol=rtol * float(wanted.abs().max()))


# Matrices. A Hebbian write v k^T is theta = 1/2 with the bias -2 <W k, v>.


@every_op
@pytest.mark.parametrize(("name", "kept"), [("linear_attention", 1.0), ("retnet", 1 - 2**-5)])
def test_linear_attention_and_retnet(name: str, kept: float, op: object) -> None:
    """o_t = sum_{s<=t} kept^(t-s) (k_s . q_t) v_s, in the parallel form, plus the start's own share."""
    row, start = matrix_row(name)
    ages = torch.arange(T)[:, None] - torch.arange(T)
    decay = torch.where(ages >= 0, kept ** ages.clamp(min=0).double(), 0.0)
    wanted = (row.q @ row.k.T * decay) @ row.v
    wanted = wanted + (row.q @ start.T) * kept ** torch.arange(1, T + 1).double()[:, None]
    same(row.read(op, rate=torch.full((T,), 0.5).double(), forget=torch.full((T,), 1 - kept).double()), wanted)


@every_op
def test_gated_linear_attention(op: object) -> None:
    """GLA with a scalar gate: S_t = a_t S_{t-1} + v_t k_t^T."""
    row, s = matrix_row("gla")
    reads = []
    for t in range(T):
        s = (1 - row.forget[t]) * s + torch.outer(row.v[t], row.k[t])
        reads.append(s @ row.q[t])
    same(row.read(op, rate=torch.full((T,), 0.5).double()), torch.stack(reads))


@every_op
def test_mamba2(op: object) -> None:
    """State-space duality with scalar A: h_t = exp(-a dt) h_{t-1} + dt x_t B_t^T, y_t = h_t C_t."""
    row, h = matrix_row("mamba2")
    step, a, reads = row.rate, 0.7, []
    for t in range(T):
        h = torch.exp(-a * step[t]) * h + step[t] * torch.outer(row.v[t], row.k[t])
        reads.append(h @ row.q[t])
    same(row.read(op, rate=step / 2, forget=1 - torch.exp(-a * step)), torch.stack(reads))


@every_op
def test_deltanet(op: object) -> None:
    """Yang et al.: W_t = W_{t-1} (I - b k k^T) + b v k^T, with b = 2 theta."""
    row, w = matrix_row("deltanet")
    reads = []
    for t in range(T):
        b, k = 2 * row.rate[t], row.k[t]
        w = w @ (torch.eye(D).double() - b * torch.outer(k, k)) + b * torch.outer(row.v[t], k)
        reads.append(w @ row.q[t])
    same(row.read(op), torch.stack(reads))


@every_op
def test_gated_deltanet_as_titans_reads_it(op: object) -> None:
    """Titans App. C with eta = 0: W_t = a W_{t-1} - 2 theta (W_{t-1} k - v) k^T; the surprise is of the kept memory."""
    row, w = matrix_row("gated_deltanet")
    reads = []
    for t in range(T):
        w = (1 - row.forget[t]) * w - 2 * row.rate[t] * torch.outer(w @ row.k[t] - row.v[t], row.k[t])
        reads.append(w @ row.q[t])
    same(row.read(op), torch.stack(reads))


@every_op
def test_gated_deltanet_as_printed(op: object) -> None:
    """Yang et al. W_t = a W_{t-1} (I - b k k^T) + b v k^T is ours with theta = a b / 2 and v / a for v."""
    row, w = matrix_row("gated_deltanet")
    reads = []
    for t in range(T):
        a, b, k = 1 - row.forget[t], 2 * row.rate[t], row.k[t]
        w = a * w @ (torch.eye(D).double() - b * torch.outer(k, k)) + b * torch.outer(row.v[t], k)
        reads.append(w @ row.q[t])
    kept = 1 - row.forget
    same(row.read(op, rate=kept * row.rate, v=row.v / kept[:, None]), torch.stack(reads))


# Deep memories M(x) = x + LN(...): torch.func.grad of the loss that each paper prints.


def network(weights: tuple[Tensor, ...], x: Tensor) -> Tensor:
    h = x
    for i, w in enumerate(weights):
        h = w @ h
        h = F.gelu(h) if i + 1 < len(weights) else h
    return x + F.layer_norm(h, h.shape, eps=1e-5)


def l2(y: Tensor, v: Tensor) -> Tensor:
    return ((y - v) ** 2).sum()


def deep_row(name: str, seed: int = 0) -> tuple[Row, tuple[Tensor, ...]]:
    row = Row(memory_spec(name, expansion=2).rule(D, D), seed)
    st = row.rule.structure
    return row, tuple(st.split(row.start))


def slope(weights: tuple[Tensor, ...], k: Tensor, v: Tensor, loss: object = l2) -> tuple[Tensor, ...]:
    assert callable(loss)
    return torch.func.grad(lambda w: loss(network(w, k), v))(weights)


@every_op
@pytest.mark.parametrize("name", ["ttt_linear", "ttt_mlp"])
def test_ttt(name: str, op: object) -> None:
    """W_t = W_{t-1} - theta grad ||f(k) - v||^2, f(x) = x + LN(W x) or x + LN(W_2 gelu(W_1 x)); no bias terms."""
    row, w = deep_row(name)
    reads = []
    for t in range(T):
        w = tuple(x - row.rate[t] * g for x, g in zip(w, slope(w, row.k[t], row.v[t]), strict=True))
        reads.append(network(w, row.q[t]))
    same(row.read(op), torch.stack(reads))


@every_op
def test_titans(op: object) -> None:
    """Titans Eq. 13-14: S_t = eta S_{t-1} - theta grad; M_t = (1 - alpha) M_{t-1} + S_t."""
    row, w = deep_row("titans_lmm")
    s, reads = tuple(torch.zeros_like(x) for x in w), []
    for t in range(T):
        g = slope(w, row.k[t], row.v[t])
        s = tuple(row.momentum[t] * x - row.rate[t] * y for x, y in zip(s, g, strict=True))
        w = tuple((1 - row.forget[t]) * x + y for x, y in zip(w, s, strict=True))
        reads.append(network(w, row.q[t]))
    same(row.read(op), torch.stack(reads))


@every_op
def test_moneta(op: object) -> None:
    """MIRAS Eq. 24-25: A_t = a A_{t-1} - eta grad l_3, W_t = A_t / ||A_t||_4^2, norm per matrix.

    The paper's smooth Sign and |r| (Remark 5) are used on both sides: its gradient is not that of a printed loss.
    """
    row, a = deep_row("moneta")
    reads = []

    def link(a: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(x / (x**4).sum().sqrt() for x in a)

    def smooth(y: Tensor, v: Tensor) -> Tensor:
        r = (y - v).detach()
        return (3 * torch.tanh(10 * r) * (r * r + 1e-6) * y).sum()

    for t in range(T):
        g = slope(link(a), row.k[t], row.v[t], smooth)
        a = tuple((1 - row.forget[t]) * x - row.rate[t] * y for x, y in zip(a, g, strict=True))
        reads.append(network(link(a), row.q[t]))
    same(row.read(op), torch.stack(reads), rtol=1e-9)


@every_op
def test_yaad(op: object) -> None:
    """MIRAS Eq. 26: the l2 gradient where ||M(k) - v|| <= delta_t, else delta_t times the l1 gradient (smooth Sign)."""
    row, w = deep_row("yaad")
    reads, near = [], 0
    for t in range(T):
        r, delta = network(w, row.k[t]) - row.v[t], row.threshold[t]
        if r.norm() <= delta:
            near += 1
            g = slope(w, row.k[t], row.v[t])
        else:
            g = slope(w, row.k[t], row.v[t], lambda y, v, d=delta: d * torch.cosh(10 * (y - v)).log().sum() / 10)
        w = tuple((1 - row.forget[t]) * x - row.rate[t] * y for x, y in zip(w, g, strict=True))
        reads.append(network(w, row.q[t]))
    assert 0 < near < T
    same(row.read(op), torch.stack(reads))


@every_op
def test_memora(op: object) -> None:
    """MIRAS Eq. 21, 27: W_t = c Softmax(a log W_{t-1} - eta grad l_2) per row; c is the row's length, here times 1."""
    row, a = deep_row("memora")
    w, reads = tuple(x.shape[-1] * torch.softmax(x, -1) for x in a), []
    for t in range(T):
        g = slope(w, row.k[t], row.v[t])
        kept = 1 - row.forget[t]
        # log of the point on the plain simplex: the scale c is put back afterwards
        w = tuple(
            x.shape[-1] * torch.softmax(kept * (x / x.shape[-1]).log() - row.rate[t] * y, -1)
            for x, y in zip(w, g, strict=True)
        )
        reads.append(network(w, row.q[t]))
    same(row.read(op), torch.stack(reads), rtol=1e-9)
