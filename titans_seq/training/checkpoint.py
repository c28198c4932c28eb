"""Checkpoints: everything a run needs to go on as if it had never stopped. No pickle.

A checkpoint is two files in ``RUN/checkpoint/``: ``checkpoint.json`` with the numbers, which names a
``step-N.safetensors`` with the tensors. The tensors are written first and the JSON renamed over the old one last, so
a kill at any moment leaves either the old checkpoint or the new one.

Tensor names: ``model/<name>``, ``optimiser/<parameter name>/<slot>``, ``state/<name>`` (the carried memory),
``rng/cpu`` and ``rng/cuda``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from titans_seq.errors import OutputError, StateMismatchError
from titans_seq.files import read_json, write_json
from titans_seq.tensor_files import load_tensors, load_weights, save_tensors
from titans_seq.training.sharding import whole

FORMAT_VERSION = 1


@dataclass(slots=True)
class Progress:
    """How far a run is, in numbers that go into the checkpoint.

    Attributes
    ----------
    step
        Optimiser steps done, skipped ones included.
    seconds
        Seconds of training so far, over all parts of the run.
    targets
        Bases, labels or rows learned from.
    rows
        Rows of the global batch, over all processes.
    skipped, skipped_in_row
        Steps left out because something was not finite.
    window
        Sums since the last row of the metrics.
    finished
        Whether the budget is spent.
    """

    step: int = 0
    seconds: float = 0.0
    targets: int = 0
    rows: int = 0
    skipped: int = 0
    skipped_in_row: int = 0
    window: dict[str, float] = field(default_factory=dict)
    finished: bool = False


def learned_tensors(module: nn.Module, optimiser: torch.optim.Optimizer, *, keep: bool = True) -> dict[str, Tensor]:
    """Name the weights and the optimiser's averages, put together where each process has a share of them.

    Then every process must call, since each gives its share; who does not ``keep`` them gets none.
    """
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    learned = {f"model/{name}": value for name, value in module.state_dict().items()}
    for parameter, slots in optimiser.state.items():
        tensors = {slot: value for slot, value in slots.items() if isinstance(value, Tensor)}
        learned |= {f"optimiser/{names[id(parameter)]}/{slot}": value for slot, value in tensors.items()}
    found = {}
    for name in sorted(learned):
        value = whole(learned[name])
        if keep:
            found[name] = value
    return found


def save_checkpoint(
    folder: Path,
    *,
    progress: Progress,
    learned: Mapping[str, Tensor],
    streams: Mapping[str, Any],
    state: Mapping[str, Tensor] | None,
) -> Path:
    """Write a checkpoint and drop the one before it.

    Parameters
    ----------
    folder
        ``RUN/checkpoint``; made if missing.
    learned
        From `learned_tensors`.
    streams
        The data cursor, as JSON-able numbers.
    state
        The carried memory as named tensors; None before the first step.

    Returns
    -------
    Path
        The JSON file.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from None
    tensors = dict(learned)
    tensors |= {f"state/{name}": value for name, value in (state or {}).items()}
    tensors["rng/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    target = folder / f"step-{progress.step:09d}.safetensors"
    save_tensors(target, tensors)
    record = {
        "format_version": FORMAT_VERSION,
        "tensors": target.name,
        "progress": asdict(progress),
        "streams": dict(streams),
        "has_state": state is not None,
    }
    write_json(folder / "checkpoint.json", record)
    for old in folder.glob("*.safetensors"):
        if old != target:
            with suppress(OSError):
                old.unlink()
    return folder / "checkpoint.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was read back: numbers, the data cursor, and the carried memory's tensors."""

    progress: Progress
    streams: dict[str, Any]
    state: dict[str, Tensor] | None


def load_checkpoint(
    folder: Path, *, module: nn.Module, optimiser: torch.optim.Optimizer | None = None
) -> Checkpoint | None:
    """Put a checkpoint back into ``module`` and ``optimiser``; None where there is none yet.

    Raises
    ------
    StateMismatchError
        When it belongs to a model of other shapes, or was written by a newer version.
    """
    path = folder / "checkpoint.json"
    if not path.exists():
        return None
    record = read_json(path)
    if record.get("format_version") != FORMAT_VERSION:
        raise StateMismatchError(
            f"{path}: expected checkpoint format {FORMAT_VERSION}, found {record.get('format_version')}; "
            "use the version of titans-seq that wrote it"
        )
    tensors = load_tensors(folder / record["tensors"])
    load_weights(module, _under(tensors, "model/"), where=path)
    if optimiser is not None:
        _load_optimiser(module, optimiser, _under(tensors, "optimiser/"))
        torch.set_rng_state(tensors["rng/cpu"].cpu())
        if "rng/cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng/cuda"].cpu())
    state = _under(tensors, "state/") if record["has_state"] else None
    return Checkpoint(progress=Progress(**record["progress"]), streams=record["streams"], state=state)


def _load_optimiser(module: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    by_name = dict(module.named_parameters())
    optimiser.state.clear()
    for key, value in tensors.items():
        name, _, slot = key.rpartition("/")
        parameter = by_name[name]
        # AdamW keeps its step count on the CPU; everything else lies beside its parameter.
        optimiser.state[parameter][slot] = value if slot == "step" else value.to(parameter.device)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
