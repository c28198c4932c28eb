"""Where and in which numbers a job computes: device, precision, threads, seed."""

import logging
from dataclasses import dataclass
from typing import Literal

import torch
from lightning_fabric import Fabric

from titans_seq.config.sections import RunSection
from titans_seq.errors import ConfigError
from titans_seq.training.ranks import Ranks, launched_ranks

_log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """The device and precision that were chosen, with Fabric set up for them in every process of the job."""

    ranks: Ranks
    device: torch.device
    precision: Precision

    @property
    def fabric(self) -> Fabric:
        """Devices, precision and messages."""
        return self.ranks.fabric

    def describe(self) -> dict[str, str | int]:
        """Give what a report says about the machine."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)
        return {
            "device": name,
            "precision": self.precision,
            "threads": torch.get_num_threads(),
            "processes": self.ranks.world,
            "torch": torch.__version__,
        }


def choose_runtime(settings: RunSection) -> Runtime:
    """Choose device and precision, and seed every generator.

    ``auto`` takes CUDA, then Apple's MPS, then the CPU. bfloat16 is chosen on its own only where the hardware
    multiplies it natively; on a CPU float32 is faster for widths below a thousand.

    Raises
    ------
    ConfigError
        For a device that this machine does not have.

    Notes
    -----
    Under ``torchrun`` this is where the processes of a job meet; all of them must call it.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = _device(settings.device)
    precision: Precision
    if settings.precision == "auto":
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if native else "float32"
    else:
        precision = settings.precision
    world, local = launched_ranks()
    alone = [device.index or 0] if device.type == "cuda" else 1
    fabric = Fabric(
        accelerator=device.type,
        devices=local if world > 1 else alone,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
    )
    if world > 1:
        fabric.launch()
        device = fabric.device
    torch.manual_seed(settings.seed)
    _log.info("device %s, precision %s, %d threads", device, precision, torch.get_num_threads())
    return Runtime(ranks=Ranks(fabric), device=device, precision=precision)


def available_devices() -> list[str]:
    """List the devices of this machine, fastest first."""
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def _device(name: str) -> torch.device:
    known = available_devices()
    if name == "auto":
        return torch.device(known[0])
    if name == "cuda" and "cuda:0" in known:
        return torch.device("cuda:0")
    if name not in known:
        raise ConfigError(f"run.device: expected a device of this machine ({', '.join(known)}), found {name!r}")
    return torch.device(name)
