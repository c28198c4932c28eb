"""What a numeric encoder makes of many series: a vector and scores of every token, and vectors of stretches.

What a series gets depends on that series and on the weights and nothing else, to the last bit on a CPU: every call of
the encoder has a shape that follows from the series' own length (rows side by side, empty ones filled up with masked
tokens), because the rounding of a matrix product may change with its shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from titans_seq.streaming.pool import Pool
from titans_seq.streaming.readings import MemoryRecord, layer_number, tapped
from titans_seq.tasks import NextBase
from titans_seq.tasks.encoder_state import EncoderOnly
from titans_seq.tasks.next_value import NextValue

Floats = npt.NDArray[np.float32]
Spans = npt.NDArray[np.int64]
"""(n, 2): first token of a stretch, and the one behind its last."""

SCORES = ("loss", "gradient", "write", "forget")
CALL = 512
"""Tokens of a call at most."""
_AT_ONCE = 1 << 13
"""Tokens of all rows in one go, at most: a series of as many is read alone."""


@dataclass(frozen=True, slots=True)
class SeriesPart:
    """What was made of tokens ``start ..`` of series ``number``: T tokens of V numbers each.

    Attributes
    ----------
    vectors
        (T, d_model) of the chosen layer.
    known
        (T,), whether any number of the token is known.
    error
        (T, V), each number minus what was expected before its token came; NaN where it is missing, and for the first
        token.
    memory
        (3, T) surprise, write and forget, mean over memories; see `titans_seq.streaming.readings.MemoryRecord`.
    """

    number: int
    start: int
    vectors: Floats
    known: npt.NDArray[np.bool_]
    error: Floats
    memory: Floats


def read_series(
    task: NextValue, tokens: Sequence[Floats], *, rows: int, layer: int, record: bool = False
) -> Iterator[SeriesPart]:
    """Every part of every series (n_i, V), each series' in order; at most ``rows`` side by side."""
    layer = layer_number(layer, blocks=len(task.encoder.blocks))
    task.eval()
    for length, side, group in _groups(tokens, rows=rows, border=task.encoder.border):
        yield from _read_group(task, tokens, group, side, length, layer=layer, record=record)


def pool_series(
    task: NextValue, tokens: Sequence[Floats], spans: Sequence[Spans], *, rows: int, pool: str, layer: int
) -> Iterator[tuple[int, Floats]]:
    """Number of a series and the vectors of its stretches (len(spans[number]), d_model), as series end.

    ``pool`` is ``mean``, ``max`` or ``last``; a stretch without any known number has the zero vector.
    """
    width = task.encoder.d_model
    pools: dict[int, Pool] = {}
    found: dict[int, Floats] = {}
    for part in read_series(task, tokens, rows=rows, layer=layer):
        number, own = part.number, spans[part.number]
        if number not in pools:
            pools[number] = Pool(pool, width=width, strand="+", start=own[:, 0], end=own[:, 1])
            found[number] = np.zeros((len(own), width), dtype=np.float32)
        for row, vector in pools[number].take(part.start, part.vectors, part.known, None):
            found[number][row] = np.nan_to_num(vector)
        if part.start + len(part.known) == len(tokens[number]):
            del pools[number]
            yield number, found.pop(number)


def row_scores(part: SeriesPart, what: str, *, patch: int) -> Floats:
    """Scores of the rows of a part, (T * patch,), by one of `SCORES`; NaN where there is no answer.

    ``loss`` is the mean over columns of the squared error, the others are the memory's (`SeriesPart.memory`); all rows
    of a patch have those of their token.
    """
    if what == "loss":
        squared = part.error.reshape(len(part.error) * patch, -1) ** 2
        known = ~np.isnan(squared)
        mean = np.where(known, squared, 0).sum(1) / np.maximum(known.sum(1), 1)
        return np.where(known.any(1), mean, np.float32(np.nan))
    found: Floats = np.where(part.known, part.memory[SCORES.index(what) - 1], np.float32(np.nan)).repeat(patch)
    return found


def _groups(tokens: Sequence[Floats], *, rows: int, border: int) -> Iterator[tuple[int, int, npt.NDArray[np.intp]]]:
    """Series that are read in the same shape: (tokens of the whole, rows side by side, their numbers)."""
    lengths = np.array([-(-len(token) // border) * border for token in tokens])
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        side = int(np.clip(_AT_ONCE // max(length, 1), 1, rows))
        for at in range(0, len(same), side):
            yield int(length), side, same[at : at + side]


@torch.inference_mode()
def _read_group(
    task: NextValue, tokens: Sequence[Floats], group: npt.NDArray[np.intp], side: int, length: int, *, layer: int,
    record: bool,
) -> Iterator[SeriesPart]:  # fmt: skip
    device = next(task.parameters()).device
    block = np.full((side, length, task.values), np.nan, dtype=np.float32)
    for row, number in enumerate(group):
        block[row, : len(tokens[number])] = tokens[number]
    call = max(CALL // task.encoder.border, 1) * task.encoder.border
    state: EncoderOnly | None = None
    expected = torch.full((side, 1, task.values), torch.nan, device=device)
    for at in range(0, length, call):
        values = torch.from_numpy(block[:, at : at + call]).to(device)
        known = ~values.isnan()
        # The tap needs the encoder alone, which both tasks have.
        with tapped(cast(NextBase, task), layer=layer, record=record) as tap:
            y, state = task.read(values, known, state=state)
        after = torch.where(known, values, 0.0) + task.head(task.norm(y))
        error = values - torch.cat([expected, after[:, :-1]], 1)
        expected = after[:, -1:]
        real = known.any(-1)
        every = slice(None)
        seen, memory = tap.vectors(every), tap.memory(real, every)
        assert seen is not None
        arrays = [x.cpu().numpy() for x in (seen, real, error, _means(memory, real))]
        for row, number in enumerate(group):
            size = min(call, len(tokens[number]) - at)
            if size > 0:
                vectors, is_known, missed, did = (x[row, :size] for x in arrays)
                yield SeriesPart(int(number), at, vectors, is_known, missed, did.T)


def _means(memory: MemoryRecord | None, real: Tensor) -> Tensor:
    """(B, T, 3) surprise, write and forget, mean over memories; zeros where nothing was recorded."""
    if memory is None:
        return torch.zeros(*real.shape, 3)
    return torch.stack([memory.surprise.mean(0), memory.write.mean(0), memory.forget.mean(0)], -1)
