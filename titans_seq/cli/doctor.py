"""`titans-seq doctor`: what this machine offers, and what is slow and why."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from importlib import metadata

import click

_PACKAGES = ("torch", "triton", "numpy", "biopython", "pyfaidx", "polars", "scikit-learn", "lightning-fabric")


@click.command("doctor")
def command() -> None:
    """Show versions, devices, kernels and threads, and say what is slow and why."""
    import torch

    from titans_seq import __version__
    from titans_seq.training.runtime import available_devices

    for name, value in [
        ("titans-seq", __version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((package, _version(package)) for package in _PACKAGES),
        ("devices", ", ".join(_device_line(name) for name in available_devices())),
        ("kernels", _kernels()),
        ("reader", _reader()),
        ("cpu", f"{_cores()} cores usable, {os.cpu_count()} present, {torch.backends.cpu.get_cpu_capability()}"),
        ("threads", f"{torch.get_num_threads()} (OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')})"),
        ("matrix product", f"{_gigaflops():,.0f} GFLOP/s float32, 512 x 512, on the CPU"),
    ]:
        click.echo(f"{name:<18}{value}")
    notes = list(_notes())
    click.echo("")
    click.echo("Nothing stands out." if not notes else "\n".join(f"- {note}" for note in notes))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _device_line(name: str) -> str:
    import torch

    if not name.startswith("cuda"):
        return name
    properties = torch.cuda.get_device_properties(name)
    return f"{name} ({properties.name}, {properties.total_memory / 2**30:.0f} GiB)"


def _kernels() -> str:
    import torch

    from titans_seq.ops.native import load

    if _version("triton") == "not installed":
        triton = "not installed"
    else:
        triton = "ready" if torch.cuda.is_available() else "needs a CUDA device"
    return f"PyTorch; compiled for the CPU: {load()[1]}; Triton: {triton}"


def _reader() -> str:
    from titans_seq.genomics.scan_native import load

    return f"compiled: {load()[1]}"


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _gigaflops() -> float:
    import torch

    size, repeats = 512, 10
    matrix = torch.ones(size, size, dtype=torch.float32)
    matrix @ matrix
    start = time.perf_counter()
    for _ in range(repeats):
        matrix @ matrix
    return 2 * size**3 * repeats / (time.perf_counter() - start) / 1e9


def _notes() -> Iterator[str]:
    import torch

    threads, cores = torch.get_num_threads(), _cores()
    if threads > cores:
        yield f"{threads} threads share {cores} cores and wait for each other: set OMP_NUM_THREADS={cores}."
    elif threads < cores:
        yield f"PyTorch uses {threads} of {cores} cores: set OMP_NUM_THREADS={cores}, or run.threads={cores}."
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy > 1.5 * cores and threads > 1:
        yield f"Load {busy:.0f} on {cores} cores: threads wait for each other; one (OMP_NUM_THREADS=1) may be as fast."
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        yield "No accelerator: presets dna-tiny and dna-small are sized for a CPU, dna-base is not."
        if torch.version.cuda is None and os.path.exists("/dev/nvidia0"):
            yield "There is an NVIDIA device, but this PyTorch was built without CUDA: install a CUDA build."
    if not torch.backends.mkl.is_available() and platform.machine() in ("x86_64", "AMD64"):
        yield "This PyTorch was built without MKL: matrix products on the CPU are slower than they need be."
    from titans_seq.ops.native import library, load

    if library() is None:
        yield f"The CPU kernels are {load()[1]}; without them the memory is two to four times slower."
    if os.environ.get("TORCH_LOGS") or os.environ.get("CUDA_LAUNCH_BLOCKING") == "1":
        yield "TORCH_LOGS or CUDA_LAUNCH_BLOCKING is set: meant for finding faults, slow."
