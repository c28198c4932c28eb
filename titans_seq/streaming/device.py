"""Where a model reads: the device by name, how many cores this process may use, and what it does with freed memory."""

from __future__ import annotations

import ctypes
import os
import platform

import torch

from titans_seq.errors import ConfigError

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # as glibc's malloc.h numbers them


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes CUDA, then Apple's MPS, then the CPU.

    Raises ConfigError for a device that this machine does not have.
    """
    known = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    known += ["mps"] if torch.backends.mps.is_available() else []
    known.append("cpu")
    if name == "auto":
        return torch.device(known[0])
    if name == "cuda" and "cuda:0" in known:
        return torch.device("cuda:0")
    if name not in known:
        raise ConfigError(f"device: expected one of this machine ({', '.join(known)}), found {name!r}")
    return torch.device(name)


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for its next call of the model.

    glibc hands large blocks back to the system at once, and every call of a model would get its tensors anew, page by
    page: about a tenth of the processor time of reading a stream on a CPU. What is kept is bounded by the peak of one
    call. Threads share one pool, since a thread's own is handed back as soon as it is empty. On other systems nothing
    happens.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((_TRIM_THRESHOLD, 1 << 30), (_MMAP_THRESHOLD, 1 << 30), (_ARENA_MAX, 1)):
            mallopt(option, value)
