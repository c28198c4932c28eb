"""From a panel to a forecaster: scales, choice, weights, intervals, and the state at the panel's end.

Everything is closed form: the same rows give the same model, unless time is up (`Deadline`) before all was tried.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from titans_seq.config.train_series import SeriesSection
from titans_seq.errors import RangeError
from titans_seq.tasks.series_baselines import baseline_weights
from titans_seq.tasks.series_recipe import Recipe, centre_moments, centred_columns, solve
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_rows import Line
from titans_seq.tasks.series_scales import like_the_others, seasonal_size, track_scales
from titans_seq.tasks.series_solve import Portions
from titans_seq.tasks.series_sources import before_first
from titans_seq.tasks.series_state import Array, SeriesState
from titans_seq.tasks.series_tracks import Track, lay_out, learn
from titans_seq.timeseries import Panel
from titans_seq.timeseries.calendar import calendar_names, find_season, rows_in_a_year, season_lengths
from titans_seq.training.deadline import Deadline
from titans_seq.training.series_choice import Choice, choose
from titans_seq.training.series_covariates import check_width, covariates_of

_log = logging.getLogger(__name__)

LEVELS: Final = np.array(
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995]
)
_WARM = 600
_REFIT_TRACKS = 64
_TRACKS_LEARNED = 2000

RIDGES: Final = ("ridge", "structured ridge")
Watch = Callable[[str, float, float, str], None]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Fitted:
    """A forecaster, and where it stands behind the last row it was given.

    Attributes
    ----------
    model, state
        To go on with.
    choice
        What was tried; None where there were too few rows to try anything.
    """

    model: SeriesModel
    state: SeriesState
    choice: Choice | None


def fit_series(
    panel: Panel, settings: SeriesSection, *, valid_rows: int | None = None,
    watch: Watch = lambda stage, done, total, note: None, deadline: Deadline | None = None,
) -> Fitted:  # fmt: skip
    """Fit a forecaster to a panel, in ``settings.minutes`` at most.

    Parameters
    ----------
    valid_rows
        Rows at the end of each series on which choices are made; ``settings.valid_fraction`` of the rows otherwise.

    Raises
    ------
    RangeError
        A horizon longer than the history.
    """
    deadline = deadline or Deadline(60 * settings.minutes)
    _log.info("training takes at most %g minutes (--minutes)", settings.minutes)
    rows = max(len(series) for series in panel)
    horizon = settings.horizon
    if rows < 2:
        raise RangeError("one row is no history; expected two at least, and some hundreds for a forecast worth having")
    if rows <= horizon:
        raise RangeError(
            f"a horizon of {horizon} rows is longer than the history of {rows}; ask for at most {rows - 1}"
        )
    valid = valid_rows or min(max(horizon, round(settings.valid_fraction * rows)), rows - horizon)
    seasons = _seasons(panel, settings, rows - valid)
    watch("fit", 0, 3, "sources")
    mean, deviation = _train_scales(panel, valid, seasons[0])
    widest, lookbacks = widest_recipe(panel, settings, seasons=seasons, train_rows=rows - valid)
    if not lookbacks:
        return _without_choice(panel, horizon, seasons)
    tracks = lay_out(panel, widest, mean=mean, deviation=deviation)
    watch("fit", 1, 3, "choosing")
    try:
        choice = choose(_some(tracks), widest, lookbacks=lookbacks, valid_rows=valid, deadline=deadline)
    except RangeError:
        return _without_choice(panel, horizon, seasons)
    watch("fit", 2, 3, choice.method)
    fitted = finish(
        panel, choice, mean=mean, deviation=deviation, valid_rows=valid, refit_every=settings.refit_every,
        deadline=deadline,
    )  # fmt: skip
    watch("fit", 3, 3, choice.method)
    return fitted


def widest_recipe(
    panel: Panel, settings: SeriesSection, *, seasons: tuple[int, ...], train_rows: int
) -> tuple[Recipe, tuple[int, ...]]:
    """Give the recipe with everything that may be tried, and the lookbacks to try; none where rows are too few."""
    usual = [n * season for season in seasons for n in (1, 2, 3, 4)] + [8, 32, 96, 192, 336, 512, 1024, 2016]
    room = (train_rows - settings.horizon) // 3
    if settings.lookbacks is not None:
        lookbacks = sorted(n for n in settings.lookbacks if n <= train_rows - settings.horizon - 1)
    else:
        lookbacks = _spread(sorted({n for n in usual if 1 < n <= min(room, settings.max_lookback)}), 5)
    if not lookbacks:
        return Recipe(settings.horizon, 1, seasons), ()
    cycles = [season for season in seasons if season > 1 and 2 * season <= train_rows - settings.horizon]
    calendar = calendar_names(panel.clock, train_rows)
    year = rows_in_a_year(panel.clock) or 0
    parts = [f"profile {season}" for season in cycles] if "profile" in settings.parts else []
    parts += ["level"] if "level" in settings.parts else []
    parts += ["calendar"] if "calendar" in settings.parts and calendar else []
    # A yearly season is a profile already; the rows of a year ago need two years before the first origin learned from.
    room = train_rows - settings.horizon - lookbacks[-1] - max(seasons)
    if "year" in settings.parts and year > max(seasons) and room >= 2 * year:
        parts.append("year")
    covariates = covariates_of(panel)
    parts += [covariate.part for covariate in covariates]
    widest = Recipe(settings.horizon, lookbacks[-1], seasons, tuple(parts), calendar, year, covariates=covariates)
    check_width(widest)
    return widest, tuple(lookbacks)


def finish(
    panel: Panel, choice: Choice, *, mean: Array, deviation: Array, valid_rows: int, refit_every: int,
    deadline: Deadline,
) -> Fitted:  # fmt: skip
    """Solve for the weights that ship, measure its errors on the validation rows, and stand behind the last row.

    The errors that make the intervals are those of weights from the training rows alone; the weights that ship are then
    solved from all rows.
    """
    recipe = shipped_recipe(choice)
    tracks = lay_out(panel, recipe, mean=mean, deviation=deviation)
    stops = [len(track) for track in tracks]
    splits = [stop - valid_rows for stop in stops]
    every = refit_every if choice.method in RIDGES and len(tracks) <= _REFIT_TRACKS else 0
    frozen = build_model(
        panel, recipe, tracks, splits, method=choice.method, every=0, mean=mean, deviation=deviation,
        enough=lambda: deadline.passed(0.7),
    )  # fmt: skip
    quantiles, scored = calibrate(frozen, panel, tracks, splits)
    model = build_model(
        panel, recipe, tracks, stops, method=choice.method, every=every, quantiles=quantiles, mean=mean,
        deviation=deviation, enough=lambda: deadline.passed(0.95),
    )  # fmt: skip
    state = state_at(model, panel, tracks, stops)
    take_scales(state, scored)
    return Fitted(model, state, choice)


def build_model(
    panel: Panel, recipe: Recipe, tracks: Sequence[Track], stops: Sequence[int], *, mean: Array, deviation: Array,
    method: str, every: int, quantiles: Array | None = None, enough: Callable[[], bool] = lambda: False,
) -> SeriesModel:  # fmt: skip
    """Solve for the weights from origins whose targets lie before row ``stops[i]`` of each track.

    Older rows are left out once ``enough`` says so.
    """
    none = np.zeros((0, 0)), np.zeros((0, recipe.horizon))
    gram, cross = none
    if method in RIDGES:
        gram, cross = _sums(tracks, recipe, stops, enough)
        weights = solve(gram, cross, recipe.penalty)
    else:
        weights = baseline_weights(method, recipe)
    if not every:
        gram, cross = none
    return SeriesModel(
        recipe=recipe, clock=panel.clock, channels=panel.channels, tracks=tuple(panel.track_ids()), mean=mean,
        deviation=deviation, weights=weights, levels=LEVELS, method=method, every=every, gram=gram, cross=cross,
        quantiles=np.zeros((len(LEVELS), recipe.horizon)) if quantiles is None else quantiles,
        learned=max((track.start + stop for track, stop in zip(tracks, stops, strict=True)), default=0) -
        recipe.horizon,
    )  # fmt: skip


def state_at(model: SeriesModel, panel: Panel, tracks: Sequence[Track], stops: Sequence[int]) -> SeriesState:
    """Give the state behind row ``stops[i]`` (exclusive) of each track, without having scored anything."""
    state = model.begin(panel)
    kept, width = state.numbers.shape[1], len(model.recipe.sources)
    for track, stop in zip(tracks, stops, strict=True):
        if stop < 1:
            continue
        first = max(0, stop - kept)
        numbers = track.numbers[first:stop, :width]
        before = before_first(model.recipe.sources, numbers[:1, 0])[0].repeat(kept, axis=0)
        state.numbers[track.index] = np.concatenate([before, numbers])[-kept:]
        state.known[track.index, -len(numbers) :] = track.known[first:stop]
        state.rows[track.index] = stop
        state.position[track.index] = track.start + stop - 1
        state.tick[track.index] = _tick(panel, track, stop - 1)
    if model.every and state.clock_position >= 0:
        state.portion = Portions(model.every).at(state.clock_position)
    return state


def calibrate(
    frozen: SeriesModel, panel: Panel, tracks: Sequence[Track], splits: Sequence[int]
) -> tuple[Array, SeriesState]:
    """Forecast from every row behind ``splits[i]``, and take the quantiles of the errors in units of the running scale.

    The scale of origin o is the one that was known at o: made of forecasts that rows up to o have realised.

    Parameters
    ----------
    frozen
        Learned from the rows before the splits; not refitted.

    Returns
    -------
    quantiles
        (levels, horizon).
    scored
        The state at the end, with the scales of its errors.
    """
    recipe = frozen.recipe
    # A correction has to read from the first row on.
    warm = [0 if frozen.correction else max(0, split - _WARM - recipe.horizon) for split in splits]
    state = state_at(frozen, panel, tracks, warm)
    scales = {track.index: np.zeros(len(track)) for track in tracks}
    shares: list[Array] = []
    first = {track.index: track.start for track in tracks}
    split_of = {track.index: split for track, split in zip(tracks, splits, strict=True)}

    def realised(members: NDArray[np.int64], positions: NDArray[np.int64], errors: Array, now: Array) -> None:
        for track, position, error, scale in zip(members, positions, errors, now, strict=True):
            rows = position - first[track]
            scales[track][rows] = scale
            origins = rows - recipe.horizon
            held = (origins >= split_of[track] - 1) & (origins >= 0)
            known = scales[track][np.maximum(origins, 0)]
            held &= known > 0
            held &= np.isfinite(error).any(axis=1)
            shares.append((error[held] / known[held, None]).astype(np.float32))

    frozen.read(state, lines_of(panel, recipe, tracks, warm), realised=realised)
    return _quantiles(np.concatenate(shares), recipe.horizon), state


def take_scales(state: SeriesState, scored: SeriesState) -> None:
    """Give a state that has scored nothing the scales of errors of one that stands at the same row and has."""
    state.scale[:], state.scored[:] = scored.scale, scored.scored
    state.quick[:], state.tried[:] = scored.quick, scored.tried
    state.past_scales[:] = scored.past_scales


def _quantiles(shares: Array, horizon: int) -> Array:
    """Take the quantiles of each step, pooled with its neighbours where origins are few; (levels, horizon)."""
    count = len(shares)
    if count < 40:
        # Too few to rank: a normal distribution of mean absolute error 1.
        normal = np.array([NormalDist().inv_cdf(level) for level in LEVELS]) * np.sqrt(np.pi / 2)
        return np.repeat(normal[:, None], horizon, axis=1)
    beside = 0 if count >= 400 else 400 // count
    table = [
        np.nanquantile(shares[:, max(0, step - beside) : step + beside + 1], LEVELS) for step in range(horizon)
    ]  # fmt: skip
    return np.maximum.accumulate(np.array(table).T.astype(np.float64), axis=0)


def _without_choice(panel: Panel, horizon: int, seasons: tuple[int, ...]) -> Fitted:
    """Fall back on the last season, or the last value where there is no whole one: rows are too few to choose on."""
    shortest = min(len(series) for series in panel)
    season = seasons[0] if seasons[0] < shortest else 1
    method = "seasonal naive" if season > 1 else "last value"
    recipe = Recipe(horizon, max(season, 1), seasons if season > 1 else (1,))
    mean, deviation = track_scales(panel)
    tracks = lay_out(panel, recipe, mean=mean, deviation=deviation)
    ones = [1] * len(tracks)
    frozen = build_model(panel, recipe, tracks, ones, method=method, every=0, mean=mean, deviation=deviation)
    quantiles, scored = calibrate(frozen, panel, tracks, ones)
    model = replace(frozen, quantiles=quantiles)
    state = state_at(model, panel, tracks, [len(track) for track in tracks])
    take_scales(state, scored)
    _log.warning("the rows are too few to choose a model on; the forecast is the %s", method)
    return Fitted(model, state, None)


def shipped_recipe(choice: Choice) -> Recipe:
    """Give the recipe that ships; a baseline needs no part and no more than it looks at."""
    if choice.method in RIDGES:
        return replace(choice.recipe, covariates=choice.recipe.inputs)
    recipe = choice.ridge.recipe
    seasons = tuple(season for season in recipe.seasons if season <= choice.widest_lookback) or (1,)
    lookback = choice.widest_lookback if choice.method == "drift" else max(seasons)
    return replace(recipe, parts=(), lookback=lookback, covariates=())


def _sums(
    tracks: Sequence[Track], recipe: Recipe, stops: Sequence[int], enough: Callable[[], bool]
) -> tuple[Array, Array]:
    """Sum the products of centred features and targets over origins whose targets lie before ``stops``."""
    windows = (*recipe.windows, recipe.target)
    width = recipe.width
    spans = [
        (track, recipe.reach - 1, stop - recipe.horizon) for track, stop in _some(list(zip(tracks, stops, strict=True)))
    ]
    total, _ = learn(spans, windows, recipe.horizon, enough=enough)
    total = centre_moments(total, centred_columns(windows), recipe.lookback)
    return total[:width, :width].copy(), total[:width, width:].copy()


def _some(tracks: Sequence[_T]) -> Sequence[_T]:
    """Learn from at most some thousands of tracks, evenly spread: more would cost time and change nothing."""
    return tracks if len(tracks) <= _TRACKS_LEARNED else tracks[:: -(-len(tracks) // _TRACKS_LEARNED)]


def _train_scales(panel: Panel, valid_rows: int, season: int) -> tuple[Array, Array]:
    """Take mean and deviation over the rows before the validation rows; over all where those hold nothing.

    Among many series the size is `seasonal_size`.
    """
    mean, deviation = track_scales(panel)
    many = sum(bool(np.isfinite(series.values).any()) for series in panel) > 1
    index = 0
    for series in panel:
        for line in series.values.T:
            rows = line[: max(len(series) - valid_rows, 0)]
            known = rows[np.isfinite(rows)]
            spread = float(known.std()) if len(known) else 0.0
            if spread > 1e-12 * max(1.0, abs(float(known.mean())) if len(known) else 1.0):
                mean[index], deviation[index] = known.mean(), spread
                if many:
                    deviation[index] = seasonal_size(rows, spread=spread, season=season)
            elif np.isfinite(line).sum() < 2:
                deviation[index] = np.nan
            index += 1
    return mean, like_the_others(deviation)


def _seasons(panel: Panel, settings: SeriesSection, train_rows: int) -> tuple[int, ...]:
    if settings.seasons is not None:
        found = tuple(sorted(settings.seasons))
    else:
        found = season_lengths(panel.clock)
        if panel.clock.unit in ("integer", "row"):
            found = (find_season([line for series in panel.series[:200] for line in series.values.T]),)
    return tuple(season for season in found if 2 * season <= max(train_rows, 2)) or (1,)


def _spread(lengths: Sequence[int], count: int) -> list[int]:
    """Thin a list out to ``count`` entries, its ends included."""
    if len(lengths) <= count:
        return list(lengths)
    return [lengths[round(i * (len(lengths) - 1) / (count - 1))] for i in range(count)]


def lines_of(panel: Panel, recipe: Recipe, tracks: Sequence[Track], firsts: Sequence[int]) -> list[Line]:
    """Give the rows of each track, laid out by ``recipe``, from its row ``firsts[i]`` on."""
    series_of = [(series, channel) for series in panel for channel in range(len(panel.channels))]
    lines = []
    for track, first in zip(tracks, firsts, strict=True):
        series, channel = series_of[track.index]
        offset = track.start - series.start + first
        inputs = track.numbers[first:, len(recipe.sources) - len(recipe.inputs) : len(recipe.sources)]
        values, tick = series.values[offset:, channel], int(series.ticks[-1])
        lines.append(Line(track.index, track.start + first, values, tick, inputs))
    return [line for line in lines if len(line.values)]


def _tick(panel: Panel, track: Track, row: int) -> int:
    series = panel.series[track.index // len(panel.channels)]
    return int(series.ticks[track.start - series.start + row])
