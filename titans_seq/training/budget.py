"""When training ends, and how far along it is."""

from dataclasses import dataclass
from math import ceil

from titans_seq.config.sections import BudgetSection


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit in optimiser steps or in seconds of training; exactly one is set.

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
        """Give the spent part, 0 to 1."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.seconds is not None
        return min(1.0, seconds / self.seconds)

    def spent(self, *, step: int, seconds: float) -> bool:
        """Tell whether nothing is left."""
        return self.progress(step=step, seconds=seconds) >= 1.0


def plan_budget(settings: BudgetSection, *, segments_per_epoch: int, accumulate: int) -> Budget:
    """Turn the configured budget into one of steps or seconds.

    Two epochs of 100 segments with ``accumulate`` 4 are 50 steps.
    """
    if settings.steps is not None:
        return Budget(steps=settings.steps, seconds=None)
    if settings.epochs is not None:
        return Budget(steps=max(1, ceil(settings.epochs * segments_per_epoch / accumulate)), seconds=None)
    assert settings.minutes is not None
    return Budget(steps=None, seconds=settings.minutes * 60)
