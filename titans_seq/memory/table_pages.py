"""Zeros in pages of two megabytes: a plane that is read at random places asks the processor for far fewer addresses."""

from __future__ import annotations

import ctypes
import mmap
import sys

import torch
from torch import Tensor

_LARGE = 1 << 22


def zeros_in_large_pages(*shape: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``torch.zeros``; on Linux, a large one of the CPU in large pages where the system grants them."""
    if device.type != "cpu" or not sys.platform.startswith("linux"):
        return torch.zeros(*shape, dtype=dtype, device=device)
    values = torch.empty(*shape, dtype=dtype)
    size = values.numel() * values.element_size()
    if size >= _LARGE:
        first = -(-values.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (values.data_ptr() + size - first) // mmap.PAGESIZE * mmap.PAGESIZE
        # Only advice: where it is refused, small pages do.
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), mmap.MADV_HUGEPAGE)
    return values.zero_()
