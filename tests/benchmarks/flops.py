"""How many multiplications and additions the memory's matrix products need, by formula.

Per token and head, with key width D, hidden width E and chunk C, for the two-layer memory with momentum:

    at the anchor    keys through both layers, errors back through one         3 products of 2 D E
    reading          queries through W and S of both layers                    4
    writing          outer products into W and S of both layers                4
    inside a chunk   (H A^T * G) Delta for both layers                         2 (2 C D + 2 C E)

The backward pass needs twice the forward. What an implementation computes again to save memory is not counted, nor are
projections, convolutions and everything elementwise, although all of them are in the measured time: the GFLOP/s are
those of useful work. `test_flops.py` counts the products that really run and compares.
"""

from __future__ import annotations


def forward_flops(tokens: int, heads: int, d: int, e: int, chunk: int) -> float:
    """Forward pass.

    >>> forward_flops(tokens=1, heads=1, d=64, e=256, chunk=64) == 11 * 2 * 64 * 256 + 2 * 2 * 64 * (64 + 256)
    True
    """
    return tokens * heads * (11 * 2 * d * e + 2 * (2 * chunk * d + 2 * chunk * e))


def train_flops(tokens: int, heads: int, d: int, e: int, chunk: int) -> float:
    """Forward and backward."""
    return 3 * forward_flops(tokens, heads, d, e, chunk)


def bmm_flops(tokens: int, heads: int, d: int, e: int) -> float:
    """Keys of every chunk through a D x E layer."""
    return tokens * heads * 2 * d * e
