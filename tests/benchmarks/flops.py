"""How many multiplications and additions the memory's matrix products take, by formula.

Per token and head, with key width D, hidden width E and chunk C, for the two-layer memory with momentum:

    at the anchor    keys through both layers, errors back through one         3 products of 2 D E
    reading          queries through W and S of both layers                    4
    writing          outer products into W and S of both layers                4
    inside a chunk   (H A^T * G) Delta for both layers                         2 (2 C D + 2 C E)

The backward pass takes twice the forward, and computes the forward of each chunk once more. Projections, convolutions
and everything elementwise are not counted, although they are in the measured time.
"""

from __future__ import annotations


def forward_flops(tokens: int, heads: int, d: int, e: int, chunk: int) -> float:
    """Forward pass.

    >>> forward_flops(tokens=1, heads=1, d=64, e=256, chunk=64) == 11 * 2 * 64 * 256 + 2 * 2 * 64 * (64 + 256)
    True
    """
    return tokens * heads * (11 * 2 * d * e + 2 * (2 * chunk * d + 2 * chunk * e))


def train_flops(tokens: int, heads: int, d: int, e: int, chunk: int) -> float:
    """Forward, backward, and the forward that the backward computes again: four times the forward."""
    return 4 * forward_flops(tokens, heads, d, e, chunk)


def bmm_flops(tokens: int, heads: int, d: int, e: int) -> float:
    """Keys of every chunk through a D x E layer."""
    return tokens * heads * 2 * d * e
