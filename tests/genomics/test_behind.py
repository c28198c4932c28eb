"""Blocks are dealt with in order behind the reader's back, and what goes wrong there is heard."""

from __future__ import annotations

import pytest

from titans_seq.genomics.behind import PENDING, Behind


def test_blocks_keep_their_order() -> None:
    seen: list[bytes] = []
    blocks = [bytes([i]) for i in range(5 * PENDING)]
    with Behind(lambda block: seen.append(bytes(block))) as behind:
        for block in blocks:
            behind.put(block)
        behind.join()
    assert seen == blocks


def test_an_error_reaches_the_reader() -> None:
    def full(block: memoryview | bytes) -> None:
        raise OSError("disk full")

    with Behind(full) as behind:
        behind.put(b"")
        with pytest.raises(OSError, match="disk full"):
            behind.join()
