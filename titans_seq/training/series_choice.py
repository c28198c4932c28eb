"""Choose what a series forecaster is made of, on rows held out for it; every part has to earn its place.

The training rows enter once, as second moments of the widest recipe. Any lookback, any choice of parts and any
penalty is a sub-block of them (`centre_moments`), so a candidate costs one linear solve.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from titans_seq.errors import RangeError
from titans_seq.tasks.series_baselines import BASELINES, baseline_weights
from titans_seq.tasks.series_moments import Window, design
from titans_seq.tasks.series_recipe import Recipe, centre_moments, centred_columns, solve
from titans_seq.tasks.series_state import Array
from titans_seq.tasks.series_tracks import Track, learn
from titans_seq.training.deadline import Deadline

_log = logging.getLogger(__name__)

PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
Trial = tuple[str, float, float, bool]
"""A part, what it saves over the same recipe without it, what it has to save to count, whether it ships."""
_ORIGINS = 1200
_STEPS = 24
_BLOCKS = 24
_FOLDS = 0.25
"""Share of the time that summing the training rows may take."""


@dataclass(frozen=True)
class Candidate:
    """A recipe and how it did on the validation rows.

    Attributes
    ----------
    recipe
        Lookback, parts and penalty.
    errors
        Mean squared error of each validation origin, in variances of the series, (origins,).
    """

    recipe: Recipe
    errors: NDArray[np.float64]

    @property
    def mse(self) -> float:
        """Mean squared error over the validation rows."""
        return float(self.errors.mean())


@dataclass(frozen=True)
class Choice:
    """What was chosen, and against what.

    Attributes
    ----------
    method
        ``structured ridge``, ``ridge``, or the name of a baseline.
    best, ridge
        The structured candidate and the plain ridge.
    baselines
        Validation error by baseline.
    trials
        Each part that was tried: name, gain over what was under it, spread of the gain, whether it ships.
    widest_lookback
        The longest lookback that was tried.
    share
        Of the training rows that there was time to learn from.
    cut_short
        Whether time was up before everything had been tried.
    """

    method: str
    best: Candidate
    ridge: Candidate
    baselines: dict[str, float]
    trials: tuple[Trial, ...]
    widest_lookback: int
    share: float = 1.0
    cut_short: bool = False

    @property
    def recipe(self) -> Recipe:
        """The recipe that ships."""
        return self.ridge.recipe if self.method == "ridge" else self.best.recipe


class Fold:
    """Moments of the rows before a split, and origins behind it to score on.

    Parameters
    ----------
    tracks
        Laid out by the widest recipe.
    windows
        Its windows and the target.
    skip, valid_rows
        Rows at the end of each track that the fold does not see, and rows before those to score on.
    enough
        Whether older rows have to be left out by now.

    Attributes
    ----------
    moments, share
        Of the training rows, and the share of them that there was time for.
    held, when
        Features and targets of the origins to score on, (origins, width), and their rows.
    """

    def __init__(
        self, tracks: Sequence[Track], widest: Recipe, windows: tuple[Window, ...], *, skip: int, valid_rows: int,
        enough: Callable[[], bool],
    ) -> None:  # fmt: skip
        width, horizon = sum(w.length for w in windows), widest.horizon
        spans = []
        rows, when = [np.empty((0, width))], [np.empty(0, np.int64)]
        stride = max(1, len(tracks) * max(1, valid_rows - horizon + 1) // _ORIGINS)
        for track in tracks:
            stop = len(track) - skip
            split = stop - valid_rows
            first, last = widest.reach - 1, split - horizon
            if last > first:
                spans.append((track, first, last))
            held = np.arange(max(first, split - 1) + track.index % stride, stop - horizon, stride)
            if len(held):
                held = held[track.usable(held, horizon)]
                rows.append(design(track.numbers, held, windows))
                when.append(held)
        self.held, self.when = np.concatenate(rows), np.concatenate(when)
        self.origins = sum(last - first for _, first, last in spans)
        self.moments, self.share = learn(spans, windows, horizon, enough=enough)

    @property
    def usable(self) -> bool:
        """Whether there is anything to learn from and to score on."""
        return self.origins > 0 and len(self.held) > 0


class Trials:
    """Candidates over the same validation origins: the last rows and, where the history is long, those before.

    Parameters
    ----------
    tracks
        Laid out by the widest recipe.
    widest
        Longest lookback and every part that may be tried.
    valid_rows
        Rows held out at the end of each track; a second fold holds out as many before them, and learns from the rows
        before those, where at least half of all rows remain for that.
    """

    def __init__(self, tracks: Sequence[Track], widest: Recipe, *, valid_rows: int, deadline: Deadline) -> None:
        self.widest = widest
        self.windows: tuple[Window, ...] = (*widest.windows, widest.target)
        horizon = widest.horizon
        self.part = np.repeat([w.part for w in self.windows], [w.length for w in self.windows])
        self.centred = centred_columns(self.windows)
        # Steps are thinned for the search only; the weights that ship are solved for all of them.
        self.steps = np.unique(np.linspace(0, horizon - 1, min(horizon, _STEPS)).astype(int))
        longest = max(len(track) for track in tracks)
        folds = [self._fold(tracks, 0, valid_rows, lambda: deadline.passed(_FOLDS / 2))]
        if folds[0].share == 1 and longest - 2 * valid_rows >= max(longest // 2, 2 * widest.reach):
            folds.append(self._fold(tracks, valid_rows, valid_rows, lambda: deadline.passed(_FOLDS)))
        # What ships is summed twice more, and its errors are measured; the search has the time between.
        taken = deadline.spent / deadline.seconds
        self._deadline, self._search = deadline, max(0.97 - 2.5 * taken, _FOLDS + 0.05)
        self.cut_short = False
        self.share = folds[0].share
        self.folds = [fold for fold in folds if fold.usable]
        if not self.folds:
            raise RangeError("too few rows to choose on")
        self.when = np.concatenate([fold.when for fold in self.folds])

    def out_of_time(self) -> bool:
        """Whether the search has to end here; asked where there is more to try."""
        self.cut_short |= self._deadline.passed(self._search)
        return self.cut_short

    def _fold(self, tracks: Sequence[Track], skip: int, valid_rows: int, enough: Callable[[], bool]) -> Fold:
        return Fold(tracks, self.widest, self.windows, skip=skip, valid_rows=valid_rows, enough=enough)

    def candidate(self, recipe: Recipe) -> Candidate:
        """Solve one recipe on the training rows of each fold and score it on the others."""
        columns, targets = self._columns(recipe)
        both = np.concatenate([columns, targets])
        width = len(columns)
        errors = []
        for fold in self.folds:
            part = centre_moments(fold.moments[np.ix_(both, both)], self.centred[both], recipe.lookback)
            weights = solve(part[:width, :width], part[:width, width:], recipe.penalty)
            errors.append(self._errors(fold, recipe, columns, targets, weights))
        return Candidate(recipe, np.concatenate(errors))

    def baseline(self, name: str) -> Candidate:
        """Score a baseline on the same origins."""
        recipe = replace(self.widest, parts=())
        columns, targets = self._columns(recipe)
        weights = baseline_weights(name, recipe)[:, self.steps]
        errors = [self._errors(fold, recipe, columns, targets, weights) for fold in self.folds]
        return Candidate(recipe, np.concatenate(errors))

    def best_penalty(self, recipe: Recipe, penalties: Sequence[float]) -> Candidate:
        """Try penalties and give the best."""
        found: list[Candidate] = []
        for penalty in penalties:
            if found and self.out_of_time():
                break
            found.append(self.candidate(replace(recipe, penalty=penalty)))
        return min(found, key=lambda c: c.mse)

    def gain(self, better: Candidate, worse: Candidate) -> tuple[float, float]:
        """Give what one candidate saves, and what it has to save to count.

        That is one standard error of the mean over blocks of time at least a horizon long, widened for few blocks as
        Student's t is: 1.2 standard errors with four blocks.
        """
        saved = worse.errors - better.errors
        order = np.argsort(self.when, kind="stable")
        span = max(1, int(self.when.max() - self.when.min()) // self.widest.horizon)
        blocks = [float(b.mean()) for b in np.array_split(saved[order], max(2, min(_BLOCKS, span, len(saved))))]
        error = float(np.std(blocks, ddof=1) / np.sqrt(len(blocks)))
        return float(saved.mean()), _student(len(blocks) - 1) * error

    def _columns(self, recipe: Recipe) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        lookback = np.flatnonzero(self.part == "lookback")[self.widest.lookback - recipe.lookback :]
        carried = np.flatnonzero(np.isin(self.part, list(recipe.parts)))
        return np.concatenate([lookback, carried]), np.flatnonzero(self.part == "target")[self.steps]

    def _errors(
        self, fold: Fold, recipe: Recipe, columns: NDArray[np.int64], targets: NDArray[np.int64], weights: Array
    ) -> NDArray[np.float64]:
        """Give the mean squared error of each validation origin of a fold."""
        look = self.widest.lookback
        mean = fold.held[:, look - recipe.lookback : look].mean(axis=1, keepdims=True)
        x = fold.held[:, columns] - mean * self.centred[columns]
        return np.asarray(((x @ weights - (fold.held[:, targets] - mean)) ** 2).mean(axis=1))


def choose(
    tracks: Sequence[Track], widest: Recipe, *, lookbacks: Sequence[int], valid_rows: int,
    deadline: Deadline | None = None,
) -> Choice:  # fmt: skip
    """Choose lookback, penalty and parts on the last ``valid_rows`` rows of each track.

    For each lookback, parts are added one at a time, the most useful first, as long as each saves more than the
    spread of what it saves; and from the recipe that has them all, parts are taken out as long as each costs no more
    than that. The best of these ships if it beats the plain ridge by more than the spread, and anything only if it
    beats last value, seasonal naive and drift by more than the spread. When time is up the best so far is taken.
    """
    trials = Trials(tracks, widest, valid_rows=valid_rows, deadline=deadline or Deadline())
    ridges: list[Candidate] = []
    for lookback in lookbacks:
        if not ridges or not trials.out_of_time():
            ridges.append(trials.best_penalty(replace(widest, lookback=lookback, parts=()), PENALTIES))
    ridge = min(ridges, key=lambda c: c.mse)
    chains = [_grow(trials, start, widest.parts) for start in sorted(ridges, key=lambda c: c.mse)]
    if len(widest.parts) > 1 and not trials.out_of_time():
        whole = [trials.best_penalty(start.recipe.with_parts(widest.parts), _near(start)) for start in ridges]
        chains.append(_prune(trials, min(whole, key=lambda c: c.mse)))
    best, tried = min(chains, key=lambda found: found[0].mse)
    saved, spread = trials.gain(best, ridge)
    structured = bool(best.recipe.parts) and saved > spread
    baselines = {name: trials.baseline(name) for name in BASELINES}
    winner = best if structured else ridge
    name, nearest = min(baselines.items(), key=lambda item: item[1].mse)
    saved, spread = trials.gain(winner, nearest)
    method = name if saved <= spread else "structured ridge" if structured else "ridge"
    errors = {label: candidate.mse for label, candidate in baselines.items()}
    choice = Choice(
        method, best, ridge, errors, tuple(tried), widest.lookback, share=trials.share, cut_short=trials.cut_short
    )
    _log.debug("chosen: %s, %s", method, choice.recipe)
    return choice


def _grow(trials: Trials, start: Candidate, parts: Sequence[str]) -> tuple[Candidate, list[Trial]]:
    """Add parts to a ridge while they help."""
    best, left, log = start, list(parts), []
    while left and not trials.out_of_time():
        found = {part: trials.candidate(best.recipe.with_parts((*best.recipe.parts, part))) for part in left}
        part = min(found, key=lambda name: found[name].mse)
        saved, spread = trials.gain(found[part], best)
        log.append((part, saved, spread, saved > spread))
        if saved <= spread:
            log += [(name, *trials.gain(found[name], best), False) for name in left if name != part]
            break
        best = min(found[part], trials.best_penalty(found[part].recipe, _near(best)), key=lambda c: c.mse)
        left.remove(part)
    return best, log


def _prune(trials: Trials, best: Candidate) -> tuple[Candidate, list[Trial]]:
    """Take parts out of a recipe that has them all, while each costs no more than its spread."""
    log: list[Trial] = []
    while best.recipe.parts and not trials.out_of_time():
        parts = best.recipe.parts
        without = {
            part: trials.candidate(best.recipe.with_parts(tuple(p for p in parts if p != part))) for part in parts
        }
        part = min(without, key=lambda name: without[name].mse)
        saved, spread = trials.gain(best, without[part])
        if saved > spread:
            return best, [*log, *((name, *trials.gain(best, other), True) for name, other in without.items())]
        log.append((part, saved, spread, False))
        best = min(without[part], trials.best_penalty(without[part].recipe, _near(best)), key=lambda c: c.mse)
    return best, log


def _near(candidate: Candidate) -> list[float]:
    return [candidate.recipe.penalty * factor for factor in (1 / 6, 6.0)]


def _student(freedom: int) -> float:
    """Give the 84 % quantile of Student's t, which is one deviation where there is much data."""
    first = (1.84, 1.32, 1.20, 1.14, 1.11)
    return first[freedom - 1] if freedom <= len(first) else 1 + 0.5 / freedom
