"""When training ends, and how far along it is."""

from dataclasses import dataclass
from math import ceil

from titans_seq.config.sections import BudgetSection


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit in optimiser steps, in seconds of training, or in both; what is reached first ends it.

    Attributes
    ----------
    steps
        Optimiser steps; exact, and the same on every machine.
    seconds
        Seconds of training, over all the parts of an interrupted run.
    """

    steps: int | None
    seconds: float | None

    def progress(self, *, step: int, seconds: float) -> float:
        """Give the spent part, 0 to 1: of the limit of which more is spent."""
        shares = [0.0]
        if self.steps is not None:
            shares.append(step / self.steps)
        if self.seconds is not None:
            shares.append(seconds / self.seconds)
        return min(1.0, max(shares))

    def spent(self, *, step: int, seconds: float) -> bool:
        """Tell whether nothing is left."""
        return self.progress(step=step, seconds=seconds) >= 1.0


def plan_budget(settings: BudgetSection, *, segments_per_epoch: int, accumulate: int) -> Budget:
    """Turn the configured budget into one of steps or seconds, or both.

    Two epochs of 100 segments with ``accumulate`` 4 are 50 steps.
    """
    steps = settings.steps
    if settings.epochs is not None:
        steps = max(1, ceil(settings.epochs * segments_per_epoch / accumulate))
    return Budget(steps=steps, seconds=None if settings.minutes is None else settings.minutes * 60)
