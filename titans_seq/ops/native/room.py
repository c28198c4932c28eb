"""Memory that is kept from one call to the next, rather than fetched anew from the system page by page.

`Room` is what a forward pass leaves for its backward pass: about 7 kB per token and head. Fresh from the system, every
page of it is a fault (half a millisecond per megabyte on a virtual machine, as long as the computation itself); room
that comes back is used again, and new room asks for huge pages.
"""

from __future__ import annotations

import ctypes
import platform
from typing import ClassVar

import torch
from torch import Tensor

from titans_seq.ops.native import library

_STEP = 1 << 21  # a huge page
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # as glibc's malloc.h numbers them
_MOST = (1 << 31) - 1


class Room:
    """``size`` numbers of ``dtype``, without gaps; given back when the last reference goes.

    At most `KEPT` bytes lie idle in a process.
    """

    KEPT: ClassVar[int] = 1 << 31
    _idle: ClassVar[list[Tensor]] = []

    def __init__(self, size: int, dtype: torch.dtype) -> None:
        wanted = (-(-size * dtype.itemsize // _STEP) + 1) * _STEP  # one more, as the room begins at a page of its own
        fits = [block for block in self._idle if wanted <= block.numel() <= 2 * wanted]
        if fits:
            self._block = min(fits, key=torch.Tensor.numel)
            # By identity: comparing tensors would compare their numbers.
            self._idle[:] = [block for block in self._idle if block is not self._block]
        else:
            self._block = torch.empty(wanted, dtype=torch.uint8)
            compiled = library()
            if compiled is not None:
                compiled.titans_huge_pages(ctypes.c_void_p(self._block.data_ptr()), ctypes.c_size_t(wanted))

    @property
    def bytes(self) -> int:
        """Bytes from `data_ptr` on."""
        return self._block.data_ptr() + self._block.numel() - self.data_ptr()

    def data_ptr(self) -> int:
        """Address of the first number, on a page of its own."""
        return -(-self._block.data_ptr() // _STEP) * _STEP

    def fill(self, byte: int) -> None:
        """Set every byte; for tests."""
        self._block.fill_(byte)

    def __del__(self) -> None:
        block = getattr(self, "_block", None)
        if block is not None and block.numel() + sum(other.numel() for other in self._idle) <= self.KEPT:
            self._idle.append(block)


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for its next call of the model; for programs, not for libraries.

    glibc hands large blocks back to the system at once, and every call of a model would get its tensors anew, page by
    page: a tenth of the processor time of reading a stream on a CPU, more in training. What is kept is bounded by the
    peak of one call. Threads share one pool, since a thread's own is handed back as soon as it is empty. On other
    systems nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((_TRIM_THRESHOLD, _MOST), (_MMAP_THRESHOLD, 1 << 30), (_ARENA_MAX, 1)):
            mallopt(option, value)
