"""A time by which something has to be done, and the shares of it that its stages may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Deadline:
    """So many seconds from its making on.

    Attributes
    ----------
    seconds
        All there are; infinity sets no limit.
    clock
        Tells the time in seconds.
    """

    seconds: float = float("inf")
    clock: Callable[[], float] = time.monotonic
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "begun", self.clock())

    @property
    def spent(self) -> float:
        """Seconds since it was made."""
        return self.clock() - self.begun

    def passed(self, share: float = 1.0) -> bool:
        """Whether a share of the time has gone by."""
        return self.spent > share * self.seconds
