"""Blocks of an encoder on several threads: block l reads piece p while block l + 1 reads piece p - 1.

    (l, p) needs (l - 1, p), the vectors, and (l, p - 1), the state

A memory is sequential along a stream, but blocks need not wait for one another. Any cut of a stream gives the same
outputs, so cutting it here changes nothing but rounding. P pieces and L blocks on enough threads take P + L - 1 turns
instead of P L. For reading without gradients on a CPU; torch lets go of Python's lock inside its operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

State = Mapping[str, Tensor]
Block = Callable[[Tensor, State, Tensor | None, int], tuple[Tensor, dict[str, Tensor]]]


def run_wavefront(
    blocks: Sequence[Block],
    x: Tensor,
    states: Sequence[State],
    mask: Tensor | None,
    position: int,
    *,
    threads: int,
    piece: int,
) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Outputs of the last block over ``x`` (B, T, d_model), and the state of every block after it.

    Parameters
    ----------
    states, mask, position
        As a block takes them: before ``x``, (B, T) bool, and tokens read before.
    piece
        Tokens of a piece; the first one ends at a multiple of it, so that borders are met.
    """
    cuts = [0, *range(piece - position % piece, x.shape[1], piece), x.shape[1]]
    inference = torch.is_inference_mode_enabled()
    turns: dict[tuple[int, int], Future[tuple[Tensor, dict[str, Tensor]]]] = {}

    def turn(layer: int, number: int) -> tuple[Tensor, dict[str, Tensor]]:
        start, stop = cuts[number], cuts[number + 1]
        before = states[layer] if number == 0 else turns[layer, number - 1].result()[1]
        h = x[:, start:stop] if layer == 0 else turns[layer - 1, number].result()[0]
        with torch.inference_mode(inference), torch.no_grad():
            return blocks[layer](h, before, None if mask is None else mask[:, start:stop], position + start)

    last = len(cuts) - 2
    # In this order a turn waits only for turns that were begun before it, so the pool cannot lock up.
    order = sorted(((layer, n) for layer in range(len(blocks)) for n in range(last + 1)), key=lambda t: (sum(t), t))
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for key in order:
            turns[key] = pool.submit(turn, *key)
        y = torch.cat([turns[len(blocks) - 1, n].result()[0] for n in range(last + 1)], 1)
    return y, [turns[layer, last].result()[1] for layer in range(len(blocks))]
