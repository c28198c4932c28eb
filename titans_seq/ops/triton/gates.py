"""Coefficients of the chunk form (`titans_seq.ops.coefficients`) from cumulated logarithms, and their adjoints.

What comes in is, per chunk and token, theta and the sums of log(1 - alpha) and log(eta) since the chunk's start, each
sum as a pair of float32 (high, low): a difference of two sums keeps float32's digits after a token that forgets
almost everything. What goes out stays in kernels of their own, because G's products would take the registers that
the read pass needs. One program per chunk.
"""

from __future__ import annotations

import triton
import triton.language as tl

from titans_seq.ops.triton.parts import product


@triton.jit
def _sums(logs, chunk, C: tl.constexpr):
    """A chunk's cumulated logarithms: (C,) high and low parts."""
    t = tl.arange(0, C)
    at = logs + chunk * (2 * C)
    return tl.load(at + t), tl.load(at + C + t)


@triton.jit
def ratios(logs, chunk, C: tl.constexpr):
    """exp(sum over (i, t]) for i <= t, else 0: (C, C), masked before the exponential."""
    high, low = _sums(logs, chunk, C)
    t = tl.arange(0, C)
    between = (high[:, None] - high[None, :]) + (low[:, None] - low[None, :])
    return tl.exp(tl.where(t[:, None] >= t[None, :], between, float("-inf")))


@triton.jit
def since_start(logs, chunk, C: tl.constexpr):
    """exp(sum up to t), (C,)."""
    return tl.exp(_sums(logs, chunk, C)[0])


@triton.jit
def until_end(logs, chunk, C: tl.constexpr):
    """exp(sum over (t, C]), (C,), and exp(sum over the chunk)."""
    high, low = _sums(logs, chunk, C)
    at = logs + chunk * (2 * C) + C - 1
    last, rest = tl.load(at), tl.load(at + C)
    return tl.exp((last - high) + (rest - low)), tl.exp(last)


@triton.jit
def gates_forward(
    logs, log_eta, theta, live, g, fade, share, keep, C: tl.constexpr, MOMENTUM: tl.constexpr, FINE: tl.constexpr
):
    """``g`` (C, C); ``fade`` (2, C) = beta and f; ``share`` (2, C) of every token in A and S; ``keep`` (4,) = beta_C,
    m_C, f_C. Without momentum the second parts stay untouched."""
    chunk = tl.program_id(0).to(tl.int64)
    t = tl.arange(0, C)
    two = chunk * (2 * C) + t
    square = chunk * (C * C) + t[:, None] * C + t[None, :]
    rate = tl.load(theta + chunk * C + t)
    d = ratios(logs, chunk, C)
    rest, beta = until_end(logs, chunk, C)
    tl.store(fade + two, since_start(logs, chunk, C))
    tl.store(keep + chunk * 4, beta)
    if MOMENTUM:
        writes = tl.load(live + chunk * C + t)
        e, m = ratios(log_eta, chunk, C), since_start(log_eta, chunk, C)
        d, rest = d * writes[None, :], rest * writes
        tl.store(fade + two + C, tl.sum(d * m[None, :], 1))
        tl.store(g + square, product(d, e, tl.float32, FINE) * rate[None, :])
        tl.store(share + two, rate * tl.sum(rest[:, None] * e, 0))
        carried, m_end = until_end(log_eta, chunk, C)
        tl.store(share + two + C, rate * carried)
        tl.store(keep + chunk * 4 + 1, m_end)
        tl.store(keep + chunk * 4 + 2, tl.sum(rest * m, 0))
    else:
        tl.store(g + square, d * rate[None, :])
        tl.store(share + two, rate * rest)


@triton.jit
def gates_backward(
    logs, log_eta, theta, live, g_bar, fade_bar, share_bar, keep_bar, theta_bar, log_bar, eta_bar,
    C: tl.constexpr, MOMENTUM: tl.constexpr, FINE: tl.constexpr,
):  # fmt: skip
    """Adjoints of theta and of the cumulated logarithms, (C,) each, from those of `gates_forward`'s results."""
    chunk = tl.program_id(0).to(tl.int64)
    t = tl.arange(0, C)
    two = chunk * (2 * C) + t
    square = chunk * (C * C) + t[:, None] * C + t[None, :]
    rate, shared = tl.load(theta + chunk * C + t), tl.load(share_bar + two)
    rest, beta = until_end(logs, chunk, C)
    rest_bar, rate_bar = shared * rate, shared * rest
    if MOMENTUM:
        writes, f_bar = tl.load(live + chunk * C + t), tl.load(fade_bar + two + C)
        rest *= writes
        m = since_start(log_eta, chunk, C)
        carried, m_end = until_end(log_eta, chunk, C)
        moved, pushed = tl.load(share_bar + two + C), tl.load(keep_bar + chunk * 4 + 2)
        # through G = (D E) diag(theta): D^T Gbar serves theta and E at once
        d, e = ratios(logs, chunk, C) * writes[None, :], ratios(log_eta, chunk, C)
        m_bar = tl.sum(d * f_bar[:, None], 0) + pushed * rest
        ebar = product(tl.trans(d), tl.load(g_bar + square), tl.float32, FINE) * e
        rest_bar = tl.sum(e * (shared * rate)[None, :], 1) + pushed * m
        e *= rest[:, None]
        rate_bar = tl.sum(ebar, 0) + shared * tl.sum(e, 0) + moved * carried
        ebar = ebar * rate[None, :] + e * (shared * rate)[None, :]
        step = moved * rate * carried
        end = tl.sum(step, 0) + tl.load(keep_bar + chunk * 4 + 1) * m_end
        change = tl.sum(ebar, 1) - tl.sum(ebar, 0) - step + m_bar * m
        tl.store(eta_bar + chunk * C + t, change + tl.where(t == C - 1, end, 0.0))
        tl.debug_barrier()  # from here on E and Gbar are read again, rather than held
        dbar = tl.load(g_bar + square) * rate[None, :]
        dbar = product(dbar, tl.trans(ratios(log_eta, chunk, C)), tl.float32, FINE) + f_bar[:, None] * m[None, :]
        dbar *= ratios(logs, chunk, C) * writes[None, :]
    else:
        dbar = tl.load(g_bar + square) * ratios(logs, chunk, C)
        rate_bar += tl.sum(dbar, 0)
        dbar *= rate[None, :]
    tl.store(theta_bar + chunk * C + t, rate_bar)
    rest_bar *= rest
    change = tl.sum(dbar, 1) - tl.sum(dbar, 0) + tl.load(fade_bar + two) * since_start(logs, chunk, C) - rest_bar
    end = tl.load(keep_bar + chunk * 4) * beta + tl.sum(rest_bar, 0)
    tl.store(log_bar + chunk * C + t, change + tl.where(t == C - 1, end, 0.0))
