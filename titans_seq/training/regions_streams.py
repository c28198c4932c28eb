"""Streams of blocks with margins and labels, and windows around what is rare: what a labelling task learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from titans_seq.genomics import N_TOKEN, BaseStreams, Genome, Stretch
from titans_seq.genomics.labels import IGNORED, LabelTracks
from titans_seq.training.regions_job import RegionsJob

RARE = 0.01
"""Share of the labels below which a class is shown more often than it is."""
WINDOW = 384
"""Bases of a window around a rare base, or as many more as its margins ask for."""
_COUNTED = 400


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
    rare_tokens, rare_labels
        Windows around a base of a rare class, with their margins, uint8 (B, E, V + 2 M) and int8 (B, E, 2, V); they
        belong to no stream.
    """

    tokens: NDArray[np.uint8]
    labels: NDArray[np.int8]
    sites: NDArray[np.int8]
    reset: NDArray[np.bool_]
    rare_tokens: NDArray[np.uint8]
    rare_labels: NDArray[np.int8]


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
    classes
        Class of each state, 0 for none.
    rare
        Windows that each row reads beside its block; none where no class is rarer than `RARE`.
    unit
        Windows with their margins are a multiple of this many bases.

    Attributes
    ----------
    shares, shown
        Share of each state among the labels of the training part, and in what an endless reading shows.
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
        classes: Sequence[int],
        rare: int = 0,
        unit: int = 1,
    ) -> None:
        self._streams = BaseStreams(
            genome, stretches, batch=rows, segment=length, gap_reset=gap_reset, both_strands=False, seed=seed
        )
        self._genome, self._tracks = genome, tracks
        self._length, self._margin = length, margin
        self._stretches: dict[str, list[Stretch]] = {}
        for stretch in stretches:
            self._stretches.setdefault(stretch.contig, []).append(stretch)
        self._rows, self._seed, self._drawn = rows, seed, 0
        self._window = -(-(WINDOW + 2 * margin) // unit) * unit - 2 * margin
        counts = np.zeros(len(classes))
        for stretch in stretches:
            states = self._states(stretch)
            counts += np.bincount(states[states >= 0], minlength=len(classes))
        self.shares: NDArray[np.float64] = counts / max(counts.sum(), 1)
        self._places = self._rare_places(stretches, np.array(classes))
        self._rare = rare if self._places else 0
        self.shown = self._mixed(len(classes))

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
        rare_tokens, rare_labels = self._windows(self._drawn, self._rows * self._rare)
        self._drawn += 1
        shape = (self._rows, self._rare)
        return LabelledSegment(
            tokens, labels, sites, found.reset,
            rare_tokens.reshape(*shape, *rare_tokens.shape[1:]), rare_labels.reshape(*shape, *rare_labels.shape[1:]),
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Where the streams stand."""
        return {**self._streams.state_dict(), "drawn": self._drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        inner = dict(state)
        self._drawn = int(inner.pop("drawn", 0))
        self._streams.load_state_dict(inner)

    def _states(self, stretch: Stretch) -> NDArray[np.int8]:
        return self._tracks[stretch.contig].states[:, stretch.start : stretch.end]

    def _rare_places(
        self, stretches: Sequence[Stretch], classes: NDArray[np.int64]
    ) -> list[list[tuple[Stretch, NDArray[np.int64]]]]:
        """For each rare class, the places of its bases in each stretch that is long enough for a window."""
        found = []
        for number in range(1, int(classes.max()) + 1):
            own = classes == number
            places = [
                (s, np.flatnonzero(np.isin(self._states(s), np.flatnonzero(own)).any(0)) + s.start)
                for s in stretches
                if len(s) >= self._window
            ]
            places = [(stretch, at) for stretch, at in places if at.size]
            if places and self.shares[own].sum() < RARE:
                found.append(places)
        return found

    def _windows(self, number: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
        """The windows of segment `number`: a class, a base of it and where in the window it lies, all at random."""
        random = np.random.default_rng((self._seed, 1, number))
        tokens = np.empty((count, self._window + 2 * self._margin), dtype=np.uint8)
        labels = np.empty((count, 2, self._window), dtype=np.int8)
        for row in range(count):
            places = self._places[int(random.integers(len(self._places)))]
            sizes = np.array([at.size for _, at in places])
            stretch, at = places[int(random.choice(len(places), p=sizes / sizes.sum()))]
            start = int(random.choice(at)) - int(random.integers(self._window))
            start = min(max(start, stretch.start), stretch.end - self._window)
            tokens[row] = with_margins(self._genome, stretch, start, length=self._window, margin=self._margin)
            labels[row] = self._tracks[stretch.contig].states[:, start : start + self._window]
        return tokens, labels

    def _mixed(self, n_states: int) -> NDArray[np.float64]:
        """The shares of the states in blocks and windows together, the latter counted on some hundred of them."""
        if not self._rare:
            return self.shares
        labels = self._windows(-1 % 2**32, _COUNTED)[1]
        counts = np.bincount(labels[labels >= 0], minlength=n_states)
        block, windows = self._length, self._rare * self._window
        mixed: NDArray[np.float64] = (block * self.shares + windows * counts / counts.sum()) / (block + windows)
        return mixed

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


def labelled_streams(job: RegionsJob) -> LabelledStreams:
    """The training part of a job as streams of blocks, with windows around what is rare."""
    settings = job.config.blocks
    return LabelledStreams(
        job.genome,
        job.parts.train,
        job.tracks,
        rows=settings.rows,
        length=settings.length,
        margin=settings.margin,
        gap_reset=settings.gap_reset,
        seed=job.config.run.seed,
        classes=job.scheme.class_of_state,
        rare=settings.rare,
        unit=job.config.letters.patch * job.config.model.border,
    )


def with_margins(genome: Genome, stretch: Stretch, start: int, *, length: int, margin: int) -> NDArray[np.uint8]:
    """The block at `start` with its margins, unknown where it leaves the stretch: uint8 (length + 2 margin,)."""
    tokens = np.full(length + 2 * margin, N_TOKEN, dtype=np.uint8)
    first, last = max(start - margin, stretch.start), min(start + length + margin, stretch.end)
    at = first - (start - margin)
    tokens[at : at + last - first] = genome.tokens(stretch.contig, first, last)
    return tokens
