"""Stop a run politely: the first SIGINT or SIGTERM finishes the step, a second one stops at once."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_log = logging.getLogger(__name__)


class StopRequest:
    """Whether somebody has asked the run to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request while the block runs.

    Outside the main thread signals cannot be caught; the request then never comes.
    """
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        if request.signal is not None:
            raise KeyboardInterrupt
        request.signal = signal.Signals(number)
        _log.warning("%s: finishing this step, then saving", request.signal.name)

    earlier = {}
    for name in (signal.SIGINT, signal.SIGTERM):
        try:
            earlier[name] = signal.signal(name, note)
        except ValueError:
            break
    try:
        yield request
    finally:
        for name, handler in earlier.items():
            signal.signal(name, handler)
