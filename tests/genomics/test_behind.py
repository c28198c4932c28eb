"""Blocks are dealt with in order behind the reader's back, and what goes wrong there is heard."""

from __future__ import annotations

from threading import Event, Timer

import pytest

from titans_seq.genomics.behind import PENDING, SMALL, Behind

SIZES = pytest.mark.parametrize("size", [1, SMALL + 1], ids=["small", "large"])


@SIZES
def test_blocks_keep_their_order(size: int) -> None:
    seen: list[bytes] = []
    blocks = [bytes([i]) * (size if i % 3 else 1) for i in range(5 * PENDING)]
    with Behind(lambda block: seen.append(bytes(block))) as behind:
        for block in blocks:
            behind.put(block)
        behind.join()
    assert seen == blocks


@SIZES
def test_an_error_reaches_the_reader_and_nothing_is_run_after_it(size: int) -> None:
    calls: list[int] = []

    def full(block: memoryview | bytes) -> None:
        calls.append(len(block))
        raise OSError("disk full")

    def read_on() -> None:
        with Behind(full) as behind:
            for _ in range(3 * PENDING):
                behind.put(bytes(size))
            behind.join()

    with pytest.raises(OSError, match="disk full"):
        read_on()
    assert calls == [size]


def test_leaving_early_waits_for_no_more_than_the_block_at_work() -> None:
    begun, go_on = Event(), Event()
    seen: list[int] = []

    def slow(block: memoryview | bytes) -> None:
        begun.set()
        go_on.wait(10)
        seen.append(block[0])

    with Behind(slow) as behind:
        for number in range(PENDING):
            behind.put(bytes([number]) * (SMALL + 1))
        begun.wait(10)
        Timer(0.05, go_on.set).start()
    assert seen == [0]


def test_after_the_end_nobody_waits_but_who_asks() -> None:
    go_on = Event()
    seen: list[int] = []

    def slow(block: memoryview | bytes) -> None:
        go_on.wait(10)
        seen.append(block[0])

    with Behind(slow) as behind:
        for number in range(PENDING):
            behind.put(bytes([number]) * (SMALL + 1))
        behind.end()
    assert seen == []
    Timer(0.05, go_on.set).start()
    behind.join()
    behind.join()
    assert seen == list(range(PENDING))
