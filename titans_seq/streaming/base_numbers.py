"""One number per base from a reading: what a track shows.

========  ==========================================================================================================
loss      - log2 p(s_t | all before it within the context): bits that the base cost
gradient  ||u_t||, length of the memory's surprise, mean over heads and memories
write     theta_t ||u_t||, length of what the base wrote, mean likewise
forget    alpha_t, share of the memory that the base made it forget, mean likewise
gain      loss with the memory begun afresh in every window, minus loss with it carried: bits that the memory of this
          contig saved; windows and the bases read before each (``lead_in``) are cut as in `titans_seq.training.arms`
========  ==========================================================================================================

NaN where there is no answer: unknown bases, and for the losses the first base that a memory reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from typing import Final

import numpy as np
import numpy.typing as npt

from titans_seq.genomics import N_TOKEN, Genome
from titans_seq.streaming.passages import Passage, whole_contig
from titans_seq.streaming.reader import Part

WHAT: Final = ("loss", "gradient", "write", "forget", "gain")


def needs_record(what: str) -> bool:
    """Whether the memories must be recorded for it."""
    return what in ("gradient", "write", "forget")


def numbers(part: Part, what: str) -> npt.NDArray[np.float32]:
    """Numbers of the bases of a part, float32 [T]; for ``gain`` the loss, of which a difference is then taken."""
    if not needs_record(what):
        return part.loss / np.float32(log(2))
    values = {"gradient": part.surprise, "write": part.write, "forget": part.forget}[what]
    assert values is not None
    mean: npt.NDArray[np.float32] = np.where(part.tokens < N_TOKEN, values.mean(axis=0), np.float32(np.nan))
    return mean


def in_windows(
    genome: Genome,
    contig: str,
    *,
    window: int,
    lead_in: int,
    strand: str,
    gap_reset: int,
    within: tuple[int, int] | None = None,
) -> Iterator[Passage]:
    """Passages that give every base of a contig once, each a window with the memory begun ``lead_in`` before it.

    On strand ``-`` windows are counted from the end. A contig of 100 with window 60 and lead-in 8: 0 .. 60, and
    52 .. 100 of which 60 .. 100 is kept. Of a part of the contig, ``within`` (forward), the windows that reach into it.
    """
    low, high = within or (0, genome.contig(contig).length)
    for start, end in whole_contig(genome, contig, strand=strand, gap_reset=gap_reset).stretches:
        # In the direction of reading, both strands look alike.
        wanted = (low - start, high - start) if strand == "+" else (end - high, end - low)
        for begin in range(max(0, wanted[0]) // window * window, min(end - start, wanted[1]), window):
            first, last = max(0, begin - max(lead_in, 1)), min(begin + window, end - start)
            if strand == "+":
                one = Passage(contig, strand, ((start + first, start + last),), (start + begin, start + last))
            else:
                one = Passage(contig, strand, ((end - last, end - first),), (end - last, end - begin))
            yield one.only(low, high)
