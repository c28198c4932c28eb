"""A forecaster that is one ridge over what it carries, refitted while it reads.

At origin o, with z_o the features (`Recipe.windows`), m_o the mean of the lookback and s marking centred columns,

    x_o = z_o - s m_o                       y_o = v[o+1 .. o+H] - m_o
    G = sum_o x_o x_o^T                     P = sum_o x_o y_o^T          over origins whose targets are known by now
    W = (G + penalty I)^-1 P                forecast = x^T W + m

G and P are the memory: a matrix memory with keys x, values y and the exact minimiser in place of a gradient step, the
second-order rule of the Mesa layer (von Oswald et al., 2309.05858; MesaNet, 2506.05233). It is solved again in every
block of `SeriesModel.every` rows of the clock, a little with each row (`series_solve`), so the weights depend on the
rows alone and not on how they were cut. Where many series were learned from, a residual encoder with a memory of each
series may have earned its place (`series_correction`): it reads a token of each track every few rows, its state is part
of the `SeriesState`, and what it says is added to the path; W then stays as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from titans_seq.errors import ConfigError, RangeError
from titans_seq.tasks.series_corrected import corrections, read_tokens
from titans_seq.tasks.series_errors import BAND, FRESH, follow_errors, follow_hits, width_of
from titans_seq.tasks.series_layout import empty_state, lay_features
from titans_seq.tasks.series_recipe import Recipe
from titans_seq.tasks.series_rows import Line, new_rows
from titans_seq.tasks.series_scales import track_scales
from titans_seq.tasks.series_solve import Portions, SlicedSolve
from titans_seq.tasks.series_sources import before_first, extend
from titans_seq.tasks.series_state import Array, SeriesState
from titans_seq.timeseries import Clock, Panel

if TYPE_CHECKING:
    from titans_seq.tasks.series_correction import SeriesCorrection

_PANEL = 64
_NEVER = np.iinfo(np.int64).max
_BLOCK = 1024
_MOST = 12_000_000
"""Numbers of features laid out at once."""

Realised = Callable[[NDArray[np.int64], NDArray[np.int64], Array, Array], None]
"""Called with tracks, clock positions (tracks, n), errors of the forecasts realised there, made horizon rows earlier
(tracks, n, horizon; NaN where unknown; where a correction ships, those made at its tokens alone), and what quantiles
are multiplied by after each row (tracks, n)."""


@dataclass(frozen=True)
class SeriesModel:
    """What was learned from a table of series; `SeriesState` holds where it stands.

    Attributes
    ----------
    recipe
        What enters.
    clock
        Time axis of the rows.
    channels, tracks
        Names of the target columns, and of the (series, channel) pairs it was trained on.
    mean, deviation
        Of each track's training rows, (tracks,); among many series the deviation is a mean seasonal difference.
    weights
        Learned from the training rows, (features, horizon).
    levels, quantiles
        Probabilities, and for each and each step the error in units of the running scale, (levels, horizon).
    method
        What ships: ``structured ridge``, ``ridge``, or the baseline that validation preferred.
    every
        Rows between refits; 0 keeps the weights as they are.
    gram, cross
        The training rows' share of the sums, (F, F) and (F, horizon); empty where ``every`` is 0.
    learned
        Clock position behind the last origin in them.
    fresh
        Weight in the width of intervals of errors known soon, those of the first `soon` steps; 0 waits for whole paths.
    correction
        What an encoder adds to the paths, with a memory carried along each track; None adds nothing.
    """

    recipe: Recipe
    clock: Clock
    channels: tuple[str, ...]
    tracks: tuple[str, ...]
    mean: Array
    deviation: Array
    weights: Array
    levels: Array
    quantiles: Array
    method: str
    every: int
    gram: Array
    cross: Array
    learned: int
    fresh: float = FRESH
    correction: SeriesCorrection | None = None

    @property
    def soon(self) -> int:
        """Steps of a path whose errors tell of the width of intervals before the whole path is realised."""
        return max(1, self.recipe.horizon // 16)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that decides a forecast; a state carries it."""
        words = [self.recipe.to_json(), self.clock.name, self.clock.origin, self.channels, self.tracks, self.every]
        digest = hashlib.sha256(json.dumps(words).encode())
        for array in (self.mean, self.deviation, self.weights, self.quantiles):
            digest.update(np.ascontiguousarray(array).tobytes())
        if self.correction is not None:
            digest.update(self.correction.fingerprint.encode())
        return digest.hexdigest()[:16]

    def begin(self, panel: Panel) -> SeriesState:
        """Give the empty state for a panel's tracks.

        A track the model was trained on keeps its mean and deviation; a new one takes those of its rows in ``panel``.
        """
        names = panel.track_ids()
        many = len(self.tracks) > 1
        mean, deviation = track_scales(panel, season=self.recipe.seasons[0] if many else None)
        at = {name: i for i, name in enumerate(self.tracks)}
        for i, name in enumerate(names):
            if name in at and np.isfinite(self.mean[at[name]]):
                mean[i], deviation[i] = self.mean[at[name]], self.deviation[at[name]]
        learned = np.array([self.learned if name in at else 0 for name in names], np.int64)
        learned[np.isnan(mean)] = _NEVER  # their size is a guess, and one far too large would rule the sums
        return empty_state(
            self.recipe, tuple(names), self.weights, mean=mean, deviation=deviation, every=self.every,
            gram=self.gram, cross=self.cross, learned=learned,
            memory=None if self.correction is None else self.correction.begin(len(names)),
        )  # fmt: skip

    def advance(self, state: SeriesState, panel: Panel, *, realised: Realised | None = None) -> SeriesState:
        """Read a panel's rows in place, in order; work grows with these rows alone.

        Parameters
        ----------
        realised
            Told of every forecast that a row completes.

        Raises
        ------
        StateMismatchError
            Rows at or before the state's last one (without refits, the track's), or a series the state does not know.
        """
        lines = new_rows(self.clock, state, panel, self.recipe, together=self.every > 0)
        return self.read(state, lines, realised=realised)

    def read(self, state: SeriesState, lines: Sequence[Line], *, realised: Realised | None = None) -> SeriesState:
        """Read lines that are known to be new; see `advance`."""
        if not lines:
            return state
        first = min(line.start for line in lines)
        last = max(line.start + len(line.values) for line in lines)
        for start, stop in self._pieces(first, last):
            self._catch_up(state, start)
            self._read(state, lines, start, stop, realised)
        for line in lines:
            state.tick[line.track] = line.tick
        self._solve_on(state)
        return state

    def _pieces(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Cut rows where the weights change: behind the first portion of each block."""
        if not self.every:
            yield from ((at, min(at + _BLOCK, last)) for at in range(first, last, _BLOCK))
            return
        portion = self.every // Portions(self.every).count
        for block in range(first // self.every, (last - 1) // self.every + 1):
            start = block * self.every
            for piece in ((start, start + portion), (start + portion, start + self.every)):
                if max(first, piece[0]) < min(last, piece[1]):
                    yield max(first, piece[0]), min(last, piece[1])

    def path(self, state: SeriesState, coming: Array | None = None) -> Array:
        """Give the point forecast of every track in its own units, (tracks, horizon); ``coming`` as for `features`.

        It is NaN for a track without any number.
        """
        x, mean = self.features(state, coming)
        path = x @ state.weights + mean
        if self.correction is not None:
            path = path + corrections(self, state, self.correction)
        return path * state.deviation[:, None] + state.mean[:, None]

    def features(self, state: SeriesState, coming: Array | None = None) -> tuple[Array, Array]:
        """Give the centred features of each track's last row, (tracks, F), and their means, (tracks, 1).

        Parameters
        ----------
        coming
            Values of `Recipe.foreknown` in the rows to be forecast, in the table's units, (tracks, horizon,
            covariates).

        Raises
        ------
        ConfigError
            None given where the recipe needs them.
        """
        kept, wanted = state.numbers.shape[1], self.recipe.foreknown
        numbers = state.numbers
        if wanted:
            shape = (len(state.rows), self.recipe.horizon, len(wanted))
            if coming is None or coming.shape != shape:
                names = ", ".join(repr(covariate.name) for covariate in wanted)
                raise ConfigError(f"this model needs {names} of the next {shape[1]} rows: give them by --future")
            numbers = np.concatenate([numbers, self._ahead(coming)], axis=1)
        x, mean = lay_features(
            self.recipe, self.clock, state, np.arange(len(state.rows)), numbers, np.array([kept - 1]), last=kept - 1
        )
        return x[:, 0], mean[:, 0]

    def _ahead(self, coming: Array) -> Array:
        """Lay coming covariates out as sources of coming rows, (tracks, horizon, sources); nothing else is known."""
        recipe = self.recipe
        numbers = np.zeros((*coming.shape[:2], len(recipe.sources)))
        first = len(recipe.sources) - len(recipe.inputs)
        for at, covariate in enumerate(recipe.foreknown):
            column = (coming[:, :, at] - covariate.mean) / covariate.deviation
            numbers[:, :, first + recipe.inputs.index(covariate)] = np.nan_to_num(column)
        return numbers

    def quantile(self, state: SeriesState, path: Array, level: float) -> Array:
        """Give a quantile of every track and step, (tracks, horizon), in the units of ``path``.

        Quantiles of a higher level are nowhere lower, because `quantiles` rises with the level at each step. A track of
        which no forecast has been realised yet has the usual width of the others, NaN without others.
        """
        low, high = float(self.levels[0]), float(self.levels[-1])
        if not low <= level <= high:
            raise RangeError(f"expected a quantile between {low} and {high}, found {level}")
        step = np.array([np.interp(level, self.levels, column) for column in self.quantiles.T])
        width = width_of(state.scale, state.quick, fresh=self.fresh) * state.stretch
        untold = (state.scored == 0) & (state.tried == 0)
        if untold.any():
            width = np.where(untold, np.median(width[~untold]) if not untold.all() else np.nan, width)
        return path + (width * state.deviation)[:, None] * step

    def _read(
        self, state: SeriesState, lines: Sequence[Line], start: int, stop: int, realised: Realised | None
    ) -> None:
        """Append the rows of one block; tracks with the same rows go together."""
        groups: dict[tuple[int, int], list[Line]] = {}
        for line in lines:
            first, last = max(start, line.start), min(stop, line.start + len(line.values))
            if first < last:
                groups.setdefault((first, last), []).append(line)
        for (first, last), members in groups.items():
            together = max(1, _MOST // ((last - first) * self.recipe.width))
            for at in range(0, len(members), together):
                part = members[at : at + together]
                rows, inputs = (
                    np.stack([getattr(line, name)[first - line.start : last - line.start] for line in part])
                    for name in ("values", "inputs")
                )
                self._append(state, np.array([line.track for line in part]), rows, inputs, last - 1, realised)

    def _append(
        self, state: SeriesState, tracks: NDArray[np.int64], values: Array, inputs: Array, last: int,
        realised: Realised | None,
    ) -> None:  # fmt: skip
        """Append n rows to some tracks, and score the forecasts that they realise."""
        fresh = state.rows[tracks] == 0
        first = tracks[fresh]  # a track that had no number anywhere is measured from its first one on
        state.mean[first] = np.where(np.isnan(state.mean[first]), values[fresh, 0], state.mean[first])
        values = (values - state.mean[tracks, None]) / state.deviation[tracks, None]
        if fresh.any():  # before a track's first row there is its first value
            state.numbers[tracks[fresh]] = before_first(self.recipe.sources, values[fresh, 0])
        new, known = extend(self.recipe.sources, state.numbers[tracks], state.rows[tracks], values, inputs)
        count, kept = values.shape[1], state.numbers.shape[1]
        numbers = np.concatenate([state.numbers[tracks], new], axis=1)
        flags = np.concatenate([state.known[tracks], known], axis=1)
        state.rows[tracks] += count
        state.position[tracks] = last
        errors = self._errors(state, tracks, numbers, flags, count, steps=self.recipe.horizon)
        # A model of covariates can look back on whole paths alone: its inputs reach to their ends.
        steps = self.soon if self.fresh and not self.recipe.foreknown else 0
        soon = self._errors(state, tracks, numbers, flags, count, steps=steps) if steps else errors[..., :0]
        past = follow_errors(state, tracks, errors, soon, fresh=self.fresh)
        share = 1
        if self.correction is not None:
            errors = read_tokens(
                self, state, self.correction, tracks, numbers=numbers, known=flags, errors=errors, past=past
            )
            share = self.correction.patch
        band = self._band if self.quantiles.any() else None
        scales = follow_hits(state, tracks, errors, past, band=band, share=share)
        if realised is not None:
            realised(tracks, state.position[tracks, None] - count + 1 + np.arange(count), errors, scales)
        # Older rows were needed only while this call scored what it realised.
        state.numbers[tracks] = numbers[:, -kept:]
        state.known[tracks] = flags[:, -kept:]

    def _errors(
        self, state: SeriesState, tracks: NDArray[np.int64], numbers: Array, known: NDArray[np.bool_], count: int, *,
        steps: int,
    ) -> Array:  # fmt: skip
        """Give actual minus forecast, (tracks, n, steps), of the first steps of the forecasts that the last n rows end.

        The one that row t ends was made ``steps`` rows before it.
        """
        origins = numbers.shape[1] - count - steps + np.arange(count)
        x, mean = self.design(state, tracks, numbers, origins)
        ahead = origins[:, None] + np.arange(1, steps + 1)
        actual = np.where(known[:, ahead], numbers[:, ahead, 0], np.nan)
        own = state.rows[tracks, None] - count - steps + np.arange(count)
        actual[own < 0] = np.nan
        errors: Array = actual - (x @ state.weights[:, :steps] + mean)
        return errors

    @cached_property
    def _band(self) -> tuple[Array, Array]:
        """The ends of the 90 % interval at each step, in units of the scale."""
        ends = [(1 - BAND) / 2, (1 + BAND) / 2]
        low, high = (np.array([np.interp(end, self.levels, column) for column in self.quantiles.T]) for end in ends)
        return low, high

    def _catch_up(self, state: SeriesState, row: int) -> None:
        """Do what is due before ``row`` is read: weights come into force, realised origins enter the sums."""
        if not self.every:
            return
        portions = Portions(self.every)
        now = portions.at(row)
        if state.portion < 0:
            state.portion = now
        for portion in range(state.portion + 1, now + 1):
            if portions.solves(portion - 1) and state.gram.any():
                state.weights = self._solving(state).finish()
            state.solving = None
            self._learn(state, portions.first(portion))
            state.portion = portion

    def _solve_on(self, state: SeriesState) -> None:
        """Take the steps of the solution that are due by now."""
        if self.every and Portions(self.every).solves(state.portion) and state.gram.any():
            self._solving(state).advance(Portions(self.every).share(state.clock_position))

    def _solving(self, state: SeriesState) -> SlicedSolve:
        """Give the solution under way; one that was not kept (a state from a file, a fork) begins again."""
        if state.solving is None:
            state.solving = SlicedSolve(state.gram, state.cross, self.recipe.penalty)
        return state.solving

    def _learn(self, state: SeriesState, stop: int) -> None:
        """Add the origins to the sums whose targets lie before clock position ``stop``."""
        horizon, kept = self.recipe.horizon, state.numbers.shape[1]
        last = np.minimum(state.position, stop - 1) - horizon
        whole = state.position - np.minimum(state.rows, kept) + self.recipe.reach
        first = np.maximum(state.learned, whole)
        groups: dict[tuple[int, int], list[int]] = {}
        for track in np.flatnonzero(last >= first):
            back = int(state.position[track] - first[track])
            groups.setdefault((back, int(last[track] - first[track]) + 1), []).append(int(track))
        for (back, count), members in groups.items():
            tracks = np.array(members)
            origins = kept - 1 - back + np.arange(count)
            x, mean = self.design(state, tracks, state.numbers[tracks], origins)
            steps = origins[:, None] + np.arange(1, horizon + 1)
            y = state.numbers[tracks][:, steps, 0] - mean
            enough = state.known[tracks][:, steps].mean(axis=2) >= 0.5
            x, y = x[enough], y[enough]
            for a in range(0, x.shape[1], _PANEL):  # a product of a few hundred kB stays in the cache
                state.gram[a : a + _PANEL] += x[:, a : a + _PANEL].T @ x
            state.cross += x.T @ y
        state.learned = np.maximum(state.learned, last + 1)

    def design(
        self, state: SeriesState, tracks: NDArray[np.int64], numbers: Array, origins: NDArray[np.int64]
    ) -> tuple[Array, Array]:
        """Give features and means at places of rows of which the last is where the state stands."""
        return lay_features(self.recipe, self.clock, state, tracks, numbers, origins, last=numbers.shape[1] - 1)
