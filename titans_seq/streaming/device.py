"""Where a model reads: the device by name, and how many cores this process may use."""

from __future__ import annotations

import os

import torch

from titans_seq.errors import ConfigError


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
