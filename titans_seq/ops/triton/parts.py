"""What every kernel is made of: products, activations, LayerNorm, attentional biases, and their adjoints.

Each function is the twin of one in `structures`, `biases` or `rule`, on one tile (C tokens, width). Choices are
`tl.constexpr`, so that a compiled kernel holds only its own.
"""

from __future__ import annotations

import triton
import triton.language as tl

LN_EPS = tl.constexpr(1e-5)
_POWER_EPS = tl.constexpr(1e-6)
_LENGTH_EPS = tl.constexpr(1e-12)


@triton.jit
def product(a, b, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """``a b`` with operands of type ``DOT``, summed in float32."""
    return tl.dot(a.to(DOT), b.to(DOT), input_precision=PRECISION)


@triton.jit
def tile(pointer, rows, columns, width, live):
    """Rows of a (tokens, width) matrix as float32; zero where ``live`` (C,) is False."""
    return tl.load(pointer + rows[:, None] * width + columns[None, :], mask=live[:, None], other=0.0).to(tl.float32)


@triton.jit
def matrix(pointer, rows, columns, width):
    """``pointer[rows, columns]`` of a row-major matrix of fast weights."""
    return tl.load(pointer + rows[:, None] * width + columns[None, :])


@triton.jit
def sloped(pointer, rows, columns, width, slopes, LINKED: tl.constexpr, CENTRED: tl.constexpr):
    """`matrix` as reads follow it: under a non-linear gate each row is multiplied by its slope.

    ``CENTRED`` takes the mean of all rows away, which a LayerNorm behind them does not see (`borders`).
    """
    m = matrix(pointer, rows, columns, width)
    if LINKED:
        m *= tl.load(slopes + rows)[:, None]
    if CENTRED:
        m -= (tl.sum(m, 0) / m.shape[0])[None, :]
    return m


@triton.jit
def power(x, k: tl.constexpr):
    """``x ** k`` of positive numbers, without a logarithm where k is small and whole or half."""
    if k == 0.0:
        y = x * 0.0 + 1.0
    elif k == 0.5:
        y = tl.sqrt(x)
    elif k == 1.0:
        y = x
    elif k == 1.5:
        y = x * tl.sqrt(x)
    elif k == 2.0:
        y = x * x
    else:
        y = tl.exp2(tl.log2(x) * k)
    return y


@triton.jit
def tanh(x):
    """Hyperbolic tangent; a series near 0, where the quotient loses its digits."""
    y = x * x
    near = x * (1.0 + y * (-0.33333333333 + y * (0.13333333333 + y * (-0.053968253968 + y * 0.021869488536))))
    return tl.where(y < 0.0625, near, 2.0 * tl.sigmoid(2.0 * x) - 1.0)


@triton.jit
def activation(z, ACT: tl.constexpr):
    """``act(z), act'(z)``."""
    if ACT == "gelu":
        share = 0.5 + 0.5 * tl.erf(z * 0.7071067811865476)
        slope = share + z * (0.3989422804014327 * tl.exp(-0.5 * z * z))
    else:
        share = tl.sigmoid(z)
        slope = share + z * share * (1.0 - share)
    return z * share, slope


@triton.jit
def bend(z, ACT: tl.constexpr):
    """``act''(z)``."""
    if ACT == "gelu":
        second = 0.3989422804014327 * tl.exp(-0.5 * z * z) * (2.0 - z * z)
    else:
        s = tl.sigmoid(z)
        second = s * (1.0 - s) * (2.0 + z * (1.0 - 2.0 * s))
    return second


@triton.jit
def norm(x, V: tl.constexpr):
    """LayerNorm without affine: the normalised rows and the reciprocal deviation (C,)."""
    centred = x - (tl.sum(x, 1) / V)[:, None]
    rstd = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / V + LN_EPS)
    return centred * rstd[:, None], rstd


@triton.jit
def norm_back(e, normal, rstd, V: tl.constexpr):
    """Adjoint of `norm`; the Jacobian is symmetric, so also the derivative along ``e``."""
    along = tl.sum(e * normal, 1) / V
    return rstd[:, None] * (e - (tl.sum(e, 1) / V)[:, None] - normal * along[:, None])


@triton.jit
def _bias(r, v, threshold, BIAS: tl.constexpr, OPTION: tl.constexpr, SHARPNESS: tl.constexpr):
    if BIAS == "dot_product":
        e = -2.0 * v
    elif BIAS == "l2":
        e = 2.0 * r
    elif BIAS == "lp":
        e = OPTION * tanh(SHARPNESS * r) * power(r * r + _POWER_EPS, (OPTION - 1.0) / 2.0)
    elif BIAS == "huber":
        e = tl.minimum(tl.maximum(r, -threshold[:, None]), threshold[:, None])
    else:
        length = tl.sqrt(tl.sum(r * r, 1) + _LENGTH_EPS)
        if BIAS == "huber_norm":
            e = tl.where((length <= threshold)[:, None], r, (threshold / length)[:, None] * r)
        elif BIAS == "huber_mixture":
            e = tl.where((length <= threshold)[:, None], 2.0 * r, threshold[:, None] * tanh(SHARPNESS * r))
        else:
            tl.static_assert(BIAS == "robust")
            e = r + (OPTION / length)[:, None] * r
    return e


@triton.jit
def error(r, v, threshold, BIAS: tl.constexpr, OPTION: tl.constexpr, SHARPNESS: tl.constexpr, MAX_ERROR: tl.constexpr):
    """The bias's error, no longer than ``MAX_ERROR`` where that is above 0. ``OPTION``: p of lp, shift of robust."""
    e = _bias(r, v, threshold, BIAS, OPTION, SHARPNESS)
    if MAX_ERROR > 0:
        length = tl.sqrt(tl.sum(e * e, 1) + _LENGTH_EPS)
        e = e * tl.minimum(MAX_ERROR / length, 1.0)[:, None]
    return e


@triton.jit
def error_vjp(
    r, v, threshold, ebar, BIAS: tl.constexpr, OPTION: tl.constexpr, SHARPNESS: tl.constexpr, MAX_ERROR: tl.constexpr
):
    """Adjoints of `error` with respect to (r, v, threshold); zero where it does not depend on one."""
    if MAX_ERROR > 0:
        e = _bias(r, v, threshold, BIAS, OPTION, SHARPNESS)
        squared = tl.sum(e * e, 1) + _LENGTH_EPS
        short = MAX_ERROR / tl.sqrt(squared)
        along = tl.sum(ebar * e, 1) / squared
        ebar = tl.where((short < 1.0)[:, None], short[:, None] * (ebar - along[:, None] * e), ebar)
    rbar, vbar, tbar = tl.zeros_like(r), tl.zeros_like(r), tl.sum(tl.zeros_like(r), 1)
    if BIAS == "dot_product":
        vbar = -2.0 * ebar
    elif BIAS == "l2":
        rbar = 2.0 * ebar
    elif BIAS == "lp":
        t, squared = tanh(SHARPNESS * r), r * r + _POWER_EPS
        flat = power(squared, (OPTION - 1.0) / 2.0)
        rbar = ebar * OPTION * flat * (SHARPNESS * (1.0 - t * t) + t * (OPTION - 1.0) * r / squared)
    elif BIAS == "huber":
        over, under = r > threshold[:, None], r < -threshold[:, None]
        rbar = tl.where(over | under, 0.0, ebar)
        tbar = tl.sum(tl.where(over, ebar, tl.where(under, -ebar, 0.0)), 1)
    else:
        squared = tl.sum(r * r, 1) + _LENGTH_EPS
        length = tl.sqrt(squared)
        if BIAS == "huber_mixture":
            t, near = tanh(SHARPNESS * r), length <= threshold
            rbar = ebar * tl.where(near[:, None], 2.0, threshold[:, None] * SHARPNESS * (1.0 - t * t))
            tbar = tl.where(near, 0.0, tl.sum(ebar * t, 1))
        else:
            turn = (ebar - (tl.sum(ebar * r, 1) / squared)[:, None] * r) / length[:, None]
            if BIAS == "huber_norm":
                near = length <= threshold
                rbar = tl.where(near[:, None], ebar, threshold[:, None] * turn)
                tbar = tl.where(near, 0.0, tl.sum(ebar * r, 1) / length)
            else:
                rbar = ebar + OPTION * turn
    return rbar, vbar, tbar
