"""From scores of bases to genes with introns: the best path through none, three coding frames and three introns.

On a strand of T bases with log-probabilities of none, codon positions and intron, the path maximises

    sum_t a log p(state_t) + sum over coding t of b h_t + sum over intron t of b i_t + sum over introns of length[n]
    + sum over starts, donors, acceptors of (site - c) + sum over stops of (-c)

with h_t the log-odds of the hexamer at t in its frame (`titans_seq.genomics.codon_scores`), and i_t and length[n] those
of an intron's hexamers and of its n bases (`titans_seq.genomics.introns`);

- a gene begins at a start codon, and its frame is kept across introns: an intron remembers the codon position that it
  broke off behind;
- an intron begins with GT, ends with AG, and has `SHORTEST` bases or more;
- a stop codon ends its frame; only a stop broken by an intron is not seen;
- at the edges of a sequence a gene may run off it, at the cost of `EDGE`.

`a` is below 1 because neighbouring bases were scored from nearly the same letters. Between two places where something
may happen every state only adds up, so the pass goes over those places (one base in five) and not over bases. Behind
`NEAR` bases the score of an intron falls by the same amount with every base, so of the donors that far back only the
best is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from titans_seq.genomics.alphabet import Tokens
from titans_seq.genomics.introns import SHORTEST, Introns
from titans_seq.genomics.open_frames import GeneticCode, codon_numbers
from titans_seq.genomics.splice_sites import SpliceSites, candidates

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EDGE: Final = 8.0
_FAR: Final = -1e18
_STOP, _DONOR, _ACCEPTOR, _START = range(4)


class SplicedGene(NamedTuple):
    """A gene in strand coordinates: its parts in reading order, and the codon position of its first base."""

    parts: tuple[tuple[int, int], ...]
    first: int
    open_start: bool
    open_end: bool


class _Step(NamedTuple):
    """A change of state on the best path: at a place, into a coding frame (0 to 2), an intron (3) or none (4)."""

    place: int
    into: int
    before: _Step | None


def decode_spliced(
    tokens: Tokens,
    log_p: Floats,
    sites: SpliceSites,
    code: GeneticCode,
    *,
    starts: Sequence[str] = ("ATG",),
    content: Floats,
    introns: Introns,
    between: Floats,
    evidence: float,
    cost: float,
) -> list[SplicedGene]:
    """The genes of one strand of a gap-free sequence.

    Parameters
    ----------
    log_p
        [T, 5]: none, codon positions 0 to 2, intron.
    content
        b h of the module's text for each frame, [3, T].
    introns, between
        Their lengths; b i of the module's text, [T].
    evidence, cost
        a and c.
    """
    size = tokens.size
    summed = evidence * np.concatenate([np.zeros((1, 5)), np.cumsum(np.maximum(log_p, -12.0), 0)])
    coding = [[0.0, *np.cumsum(_frame(log_p, frame) * evidence + content[frame]).tolist()] for frame in range(3)]
    none, intron = summed[:, 0].tolist(), (summed[:, 4] + np.append(0.0, np.cumsum(between))).tolist()
    kinds, places, scores = _events(tokens, sites, code, starts=starts, cost=cost)
    near, slope = introns.near.tolist(), introns.slope
    tail = len(near) - 1
    in_none, none_path = 0.0, None
    in_frame, frame_path = [-EDGE] * 3, [_Step(0, frame, None) for frame in range(3)]
    # Of introns in their tail; what `slope` adds up to is left out until they end.
    in_intron, intron_path = [near[tail] - EDGE] * 3, [_Step(0, 3, None)] * 3
    waiting: deque[tuple[int, int, float, _Step]] = deque()
    for kind, place, score in zip(kinds, places, scores, strict=True):
        while waiting and waiting[0][0] + tail <= place:
            donor, broken, value, step = waiting.popleft()
            value += near[tail] - slope * (donor + tail)
            if value > in_intron[broken]:
                in_intron[broken], intron_path[broken] = value, step
        if kind == _STOP:
            frame = place % 3  # `place` is behind the stop codon
            step = frame_path[frame]
            if step.place > place - 3:
                continue  # this frame was entered within the codon
            value = in_frame[frame] + coding[frame][place] + score - none[place]
            if value > in_none:
                in_none, none_path = value, _Step(place, 4, step)
            in_frame[frame] = _FAR
        elif kind == _DONOR:
            for frame in range(3):
                value = in_frame[frame] + coding[frame][place] + score - intron[place]
                if value > _FAR / 2 and frame_path[frame].place < place:
                    waiting.append((place, (place - 1 - frame) % 3, value, _Step(place, 3, frame_path[frame])))
        elif kind == _ACCEPTOR:
            best, path = [value + slope * place for value in in_intron], list(intron_path)
            for donor, broken, value, step in waiting:
                if place - donor < SHORTEST:
                    break
                if value + near[place - donor] > best[broken]:
                    best[broken], path[broken] = value + near[place - donor], step
            for broken in range(3):
                frame = (place - broken - 1) % 3
                value = best[broken] + intron[place] + score - coding[frame][place]
                if value > in_frame[frame]:
                    in_frame[frame], frame_path[frame] = value, _Step(place, frame, path[broken])
        else:
            frame = place % 3
            value = in_none + none[place] + score - coding[frame][place]
            if value > in_frame[frame]:
                in_frame[frame], frame_path[frame] = value, _Step(place, frame, none_path)
    ends: list[tuple[float, _Step | None]] = [(in_none + none[size], none_path)]
    ends += [(in_frame[f] + coding[f][size] - EDGE, frame_path[f]) for f in range(3)]
    ends += [(in_intron[b] + slope * size + intron[size] - EDGE, intron_path[b]) for b in range(3)]
    return _genes(max(ends, key=lambda end: end[0])[1], size)


def _frame(log_p: Floats, frame: int) -> Floats:
    """Log-probability of the codon position that each base has in a frame."""
    rows = np.arange(len(log_p))
    found: Floats = np.maximum(log_p[rows, 1 + (rows - frame) % 3], -12.0)
    return found


def _events(
    tokens: Tokens, sites: SpliceSites, code: GeneticCode, *, starts: Sequence[str], cost: float
) -> tuple[list[int], list[int], list[float]]:
    """Kinds, places and scores of everything that may happen, by place; at one place in the order of the kinds."""
    stops = np.flatnonzero(code.is_stop(codon_numbers(tokens))) + 3
    found = [(np.full(stops.size, _STOP), stops, np.full(stops.size, -cost))]
    for kind, name in ((_DONOR, "donor"), (_ACCEPTOR, "acceptor"), (_START, "start")):
        places = candidates(tokens, name, starts=starts)
        found.append((np.full(places.size, kind), places, sites.scores(tokens, name, places) - cost))
    kinds, places, scores = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((kinds, places))
    return kinds[order].tolist(), places[order].tolist(), scores[order].tolist()


def _genes(step: _Step | None, size: int) -> list[SplicedGene]:
    """Put the steps of a path, the last one first, together to genes in order."""
    steps: list[_Step] = []
    while step is not None:
        steps.append(step)
        step = step.before
    genes: list[SplicedGene] = []
    parts: list[tuple[int, int]] = []
    first, opened = 0, False
    steps.reverse()
    for number, (place, into, _) in enumerate(steps):
        end = steps[number + 1].place if number + 1 < len(steps) else size
        if into < 3 and end > place:
            if not parts:
                first = (place - into) % 3
                opened = (number == 0 and place == 0) or (number == 1 and steps[0].into == 3)
            parts.append((place, end))
        last = number + 1 == len(steps)
        if parts and (into == 4 or last):
            genes.append(SplicedGene(tuple(parts), first, opened, into != 4))
            parts = []
    return genes
