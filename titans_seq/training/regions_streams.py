"""Streams of blocks with margins and labels: what the labelling task learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from titans_seq.genomics import N_TOKEN, BaseStreams, Genome, Stretch
from titans_seq.genomics.labels import IGNORED, LabelTracks


@dataclass(frozen=True)
class LabelledSegment:
    """One block of every row.

    Attributes
    ----------
    tokens
        Blocks with their margins, uint8 (B, L + 2 M); unknown beyond the stretch they belong to.
    labels, sites
        Of the block alone, int8 (B, 2, L); see `titans_seq.genomics.labels.LabelTracks`.
    reset
        The row begins a new stream, bool (B,).
    """

    tokens: NDArray[np.uint8]
    labels: NDArray[np.int8]
    sites: NDArray[np.int8]
    reset: NDArray[np.bool_]


class LabelledStreams:
    """Endless labelled blocks of a training part; an epoch passes every base once (a block shows both its strands).

    Parameters
    ----------
    genome, stretches
        What is learned from.
    tracks
        Labels by contig.
    rows, length, margin
        Of the blocks, in bases.
    gap_reset, seed
        See `titans_seq.genomics.BaseStreams`.
    """

    def __init__(
        self,
        genome: Genome,
        stretches: Sequence[Stretch],
        tracks: Mapping[str, LabelTracks],
        *,
        rows: int,
        length: int,
        margin: int,
        gap_reset: int,
        seed: int,
    ) -> None:
        self._streams = BaseStreams(
            genome, stretches, batch=rows, segment=length, gap_reset=gap_reset, both_strands=False, seed=seed
        )
        self._genome, self._tracks = genome, tracks
        self._length, self._margin = length, margin
        self._stretches: dict[str, list[Stretch]] = {}
        for stretch in stretches:
            self._stretches.setdefault(stretch.contig, []).append(stretch)

    @property
    def epoch(self) -> int:
        """Passes over the training part so far."""
        return self._streams.epoch

    @property
    def segments_per_epoch(self) -> int:
        """About how many blocks of all rows one epoch takes."""
        return self._streams.segments_per_epoch

    def __next__(self) -> LabelledSegment:
        found = next(self._streams)
        names = self._genome.names
        rows = [
            self._row(names[int(contig)], int(start), mask)
            for contig, start, mask in zip(found.contig, found.start, found.mask, strict=True)
        ]
        tokens, labels, sites = (np.stack(column) for column in zip(*rows, strict=True))
        return LabelledSegment(tokens, labels, sites, found.reset)

    def state_dict(self) -> dict[str, Any]:
        """Where the streams stand."""
        return self._streams.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self._streams.load_state_dict(state)

    def _row(
        self, name: str, start: int, mask: NDArray[np.bool_]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int8], NDArray[np.int8]]:
        stretch = next(s for s in self._stretches[name] if s.start <= start < s.end)
        tokens = with_margins(self._genome, stretch, start, length=self._length, margin=self._margin)
        end = min(start + self._length, stretch.end)
        labels, sites = (np.full((2, self._length), IGNORED, dtype=np.int8) for _ in range(2))
        # Beyond its piece a row is filled with nothing that counts; those bases come in another piece.
        counts = mask[: end - start]
        labels[:, : end - start] = np.where(counts, self._tracks[name].states[:, start:end], IGNORED)
        sites[:, : end - start] = np.where(counts, self._tracks[name].sites[:, start:end], IGNORED)
        return tokens, labels, sites


def with_margins(genome: Genome, stretch: Stretch, start: int, *, length: int, margin: int) -> NDArray[np.uint8]:
    """The block at `start` with its margins, unknown where it leaves the stretch: uint8 (length + 2 margin,)."""
    tokens = np.full(length + 2 * margin, N_TOKEN, dtype=np.uint8)
    first, last = max(start - margin, stretch.start), min(start + length + margin, stretch.end)
    at = first - (start - margin)
    tokens[at : at + last - first] = genome.tokens(stretch.contig, first, last)
    return tokens
