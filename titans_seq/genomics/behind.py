"""Work done behind the reader's back: one thread that takes blocks in order (hashing releases the GIL)."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Final, Self

PENDING: Final = 4
"""Blocks that may wait; more would let RAM grow where the thread is the slower one."""
SMALL: Final = 1 << 16
"""Bytes up to which a first block is dealt with on the spot: a thread would take longer to start."""

Block = memoryview | bytes


class Behind:
    """Calls ``run(block)`` for each block given to :meth:`put`, in their order, in a thread.

    What ``run`` raises is raised by this `put`, a later one, or `join` at the latest; nothing is run after it.
    """

    def __init__(self, run: Callable[[Block], object]) -> None:
        self._run = run
        self._work: SimpleQueue[Block | None] = SimpleQueue()
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(PENDING):
            self._free.put(None)
        self._thread: Thread | None = None
        self._error: BaseException | None = None
        self._cancelled = False
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or not self._ended:
            self._cancelled = True
            self._stop()

    def put(self, block: Block) -> None:
        """Hand over a block, which must not change from here on."""
        if self._thread is None:
            if len(block) <= SMALL:
                self._run(block)
                return
            self._thread = Thread(target=self._serve, daemon=True)
            self._thread.start()
        self._free.get()
        if self._error is not None:
            raise self._error
        self._work.put(block)

    def end(self) -> None:
        """Say that no further block comes; those that wait are dealt with, and then the thread ends by itself."""
        if self._thread is not None and not self._ended:
            self._work.put(None)
        self._ended = True

    def join(self) -> None:
        """Wait until every block is dealt with."""
        self._stop()
        if self._error is not None:
            raise self._error

    def _stop(self) -> None:
        self.end()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _serve(self) -> None:
        while (block := self._work.get()) is not None:
            if self._error is None and not self._cancelled:
                try:
                    self._run(block)
                except BaseException as error:  # raised again where the reader can hear it
                    self._error = error
            self._free.put(None)
