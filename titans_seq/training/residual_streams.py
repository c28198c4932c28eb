"""From a fitted ridge and its rows to the tokens and targets of `titans_seq.tasks.series_residual`, and to streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from titans_seq.tasks.series_corrected import tokens_at
from titans_seq.tasks.series_residual import ResidualSegment
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_sources import before_first
from titans_seq.tasks.series_state import Array, SeriesState
from titans_seq.tasks.series_tracks import Track
from titans_seq.timeseries import Panel
from titans_seq.training.series_fit import lines_of

_BLOCK: Final = 2048


@dataclass(frozen=True)
class ResidualRows:
    """Tokens and targets at every row of one track, from its first on.

    Attributes
    ----------
    features
        (rows, F) float32.
    residuals
        Actual minus path in standardised units, (rows, H) float32; NaN where the actual is unknown.
    scale
        What a correction is in units of, (rows,).
    known
        Where a token writes, (rows,).
    """

    features: NDArray[np.float32]
    residuals: NDArray[np.float32]
    scale: NDArray[np.float32]
    known: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.scale)


def residual_rows(model: SeriesModel, panel: Panel, tracks: Sequence[Track], *, patch: int) -> list[ResidualRows]:
    """Read tracks from their first rows on, as a state does, and lay out a token at every row.

    Parameters
    ----------
    model
        What is beneath; best learned from other tracks, or from rows before those that will be judged.
    tracks
        Of ``panel``, laid out by the model's recipe.
    patch
        Rows of a token, P.
    """
    recipe = model.recipe
    beneath = replace(model, correction=None, quantiles=np.zeros_like(model.quantiles))
    first = {track.index: track.start for track in tracks}
    residuals = {track.index: np.full((len(track), recipe.horizon), np.nan, np.float32) for track in tracks}
    widths = {track.index: np.zeros(len(track)) for track in tracks}

    def realised(members: NDArray[np.int64], positions: NDArray[np.int64], errors: Array, now: Array) -> None:
        for track, position, error, width in zip(members, positions, errors, now, strict=True):
            rows = position - first[track]
            widths[track][rows] = width
            ended = rows >= recipe.horizon
            residuals[track][rows[ended] - recipe.horizon] = error[ended]

    state = beneath.begin(panel)
    beneath.read(state, lines_of(panel, recipe, tracks, [0] * len(tracks)), realised=realised)
    return [
        _laid(beneath, state, track, residuals[track.index], widths[track.index], patch=patch) for track in tracks
    ]  # fmt: skip


def _laid(
    model: SeriesModel, state: SeriesState, track: Track, residuals: NDArray[np.float32], widths: Array, *, patch: int
) -> ResidualRows:
    sources, kept = model.recipe.sources, model.recipe.kept
    numbers = track.numbers[:, : len(sources)]
    before = before_first(sources, numbers[:1, 0])[0].repeat(kept, axis=0)
    numbers = np.concatenate([before, numbers])[None]
    known = np.concatenate([np.zeros(kept, np.bool_), track.known])[None]
    parts = [
        tokens_at(
            model, state, np.array([track.index]), numbers=numbers, known=known, patch=patch,
            origins=kept + np.arange(at, min(at + _BLOCK, len(track))), widths=widths[None, at : at + _BLOCK],
        )
        for at in range(0, len(track), _BLOCK)
    ]  # fmt: skip
    features, scale, there = (
        np.concatenate([getattr(part, name)[0] for part in parts]) for name in ("features", "sizes", "known")
    )
    return ResidualRows(features, residuals, scale.astype(np.float32), there)


class ResidualStreams:
    """Endless segments: each row of the batch reads a track from its start with an offset of its own, again and again.

    Parameters
    ----------
    tracks
        What is learned from.
    stops
        Origins of each track that may be learned from: those below.
    patch, length
        Rows between tokens; tokens of a segment, a multiple of the encoder's border.
    batch
        Rows of the batch.
    """

    def __init__(
        self, tracks: list[ResidualRows], stops: list[int], *, patch: int, length: int, batch: int, seed: int
    ) -> None:
        self.tracks, self.stops, self.patch, self.length = tracks, stops, patch, length
        self.places = [(t, offset) for t in range(len(tracks)) for offset in range(patch)]
        self.batch, self.seed = batch, seed
        self.segment, self.epoch = 0, 0
        self.segments = max(1, max(stop // patch for stop in stops) // length)

    def __next__(self) -> ResidualSegment:
        rng = np.random.default_rng([self.seed, self.epoch])
        chosen = rng.permutation(len(self.places))[np.arange(self.batch) % len(self.places)]
        parts = [self._part(*self.places[place]) for place in chosen]
        features, targets, mask = (np.stack(column) for column in zip(*parts, strict=True))
        reset = np.full(self.batch, self.segment == 0)
        self.segment += 1
        if self.segment == self.segments:
            self.segment, self.epoch = 0, self.epoch + 1
        return ResidualSegment(features, targets, mask, reset)

    def _part(self, track: int, offset: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        return cut(
            self.tracks[track], offset + self.patch * self.length * self.segment, self.length, self.patch,
            stop=self.stops[track],
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Give the cursor."""
        return {"segment": self.segment, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a cursor."""
        self.segment, self.epoch = int(state["segment"]), int(state["epoch"])


def cut(
    rows: ResidualRows, begin: int, tokens: int, patch: int, *, stop: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Give features, targets and mask of ``tokens`` tokens from origin ``begin`` on; past ``stop`` there are none."""
    origins = begin + patch * np.arange(tokens)
    mask = origins < stop
    origins = np.minimum(origins, max(stop - 1, 0))
    targets = rows.residuals[origins] / rows.scale[origins, None]
    targets[~mask] = np.nan
    return rows.features[origins], targets, mask & rows.known[origins]
