"""Runs an iterator in a thread of its own, a few items ahead.

Reading, hashing and unpacking release the interpreter lock, so they overlap with parsing; at most `depth` items wait.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

Item = TypeVar("Item")
_POLL_SECONDS: Final = 0.1


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _End:
    pass


def prefetched(items: Iterable[Item], *, depth: int = 4) -> Iterator[Item]:
    """The same items in the same order; an error of the iterator is raised where its item would have come.

    When the consumer stops early, the thread stops at its next item.
    """
    waiting: queue.Queue[Item | _Failure | _End] = queue.Queue(depth)
    stopped = threading.Event()

    def put(entry: Item | _Failure | _End) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(entry, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:
            put(_Failure(error))
        else:
            put(_End())

    thread = threading.Thread(target=work, name="titans-seq-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            entry = waiting.get()
            if isinstance(entry, _End):
                return
            if isinstance(entry, _Failure):
                raise entry.error
            yield entry
    finally:
        stopped.set()
        thread.join()
