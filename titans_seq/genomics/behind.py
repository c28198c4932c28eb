"""Work done behind the reader's back: one thread that takes blocks in order (hashing and writing release the GIL)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

PENDING: Final = 4
"""Blocks that may wait; more would let RAM grow where the thread is the slower one."""


class Behind:
    """Calls ``run(block)`` for each block given to :meth:`put`, in their order, in a thread.

    What ``run`` raises is raised by a later `put`, or by `join` at the latest.
    """

    def __init__(self, run: Callable[[memoryview | bytes], object]) -> None:
        self._run = run
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._pending: deque[Future[object]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def put(self, block: memoryview | bytes) -> None:
        """Hand over a block, which must not change from here on."""
        while len(self._pending) >= PENDING or (self._pending and self._pending[0].done()):
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._run, block))

    def join(self) -> None:
        """Wait until every block is dealt with."""
        while self._pending:
            self._pending.popleft().result()
