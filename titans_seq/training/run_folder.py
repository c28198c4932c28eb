"""A run's folder: what lies in it, how it begins, how it is opened again.

::

    config.yaml         the resolved configuration
    run.json            what was read: genomes, annotation, checksum, version
    metrics.csv         a row every few steps
    checkpoint/         everything needed to go on
    model.safetensors   the trained weights, with the configuration inside
    bits_per_base.safetensors   bits for each held-out base, by arm (float16)
    report.json         every figure;  report.html and *.png show it
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from titans_seq.config import dump_config, parse_config, read_text
from titans_seq.config.sections import Section
from titans_seq.errors import ConfigError, InputFileError, OutputError, StateMismatchError, TitansError
from titans_seq.files import read_json, write_error, write_json, write_text

Config = TypeVar("Config", bound=Section)

_log = logging.getLogger(__name__)

FORMAT_VERSION = 1
FREE_ON_RESUME = ("run.device", "run.threads", "run.checkpoint_minutes", "run.checkpoint_steps", "run.sharding")
"""Settings that may differ when a run is resumed: they say where and how often, not what."""


def refuse_existing(path: Path, *, resumable: bool = True) -> None:
    """Say what to do when a new run would land on something that is there."""
    if path.is_dir() and (path / "config.yaml").exists():
        raise ConfigError(f"{path} holds a run; {'go on with it by --resume, or ' * resumable}give another --out")
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ConfigError(f"{path} exists and is not an empty folder; give another --out")


def begin_run(path: Path, config: Section, inputs: dict[str, Any]) -> None:
    """Make the folder of a new run and write down what it is."""
    refuse_existing(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from None
    write_json(path / "run.json", {"format_version": FORMAT_VERSION, **inputs})
    write_text(path / "config.yaml", dump_config(config))


def open_run(path: Path, kind: type[Config]) -> tuple[Config, dict[str, Any]]:
    """Read the configuration, of the class ``kind``, and the inputs of a run that is to go on."""
    if not path.is_dir():
        raise InputFileError(path, problem="no such run folder", hint="leave --resume out to begin a run")
    for name in ("config.yaml", "run.json"):
        if not (path / name).exists():
            raise InputFileError(path, problem=f"holds no {name}: not a run that can go on")
    config_path = path / "config.yaml"
    config = parse_config(kind, read_text(config_path), source=str(config_path))
    inputs = read_json(path / "run.json")
    if inputs.get("format_version") != FORMAT_VERSION:
        raise StateMismatchError(
            f"{path / 'run.json'}: expected format {FORMAT_VERSION}, found {inputs.get('format_version')}"
        )
    return config, inputs


def check_same(config: Section, wanted: Section, *, path: Path) -> None:
    """Refuse to resume a run under settings that would make it another run."""
    before, after = _flat(config.model_dump(mode="json")), _flat(wanted.model_dump(mode="json"))
    changed = [key for key in after if before[key] != after[key] and key not in FREE_ON_RESUME]
    if changed:
        shown = "; ".join(f"{key} is {before[key]!r} there and {after[key]!r} now" for key in changed[:3])
        raise StateMismatchError(f"{path}: cannot be resumed under other settings: {shown}; give another --out")


@contextmanager
def removed_if_barren(path: Path) -> Iterator[None]:
    """Take a new run's folder away again when an error ends it before it has a checkpoint.

    A disk that is full later on leaves the run, and the message says how to go on.
    """
    try:
        yield
    except (TitansError, OSError, RuntimeError) as error:
        if not any(path.glob("**/checkpoint/checkpoint.json")):
            _log.debug("nothing was trained: %s is removed", path)
            shutil.rmtree(path, ignore_errors=True)
        elif isinstance(error, OutputError):
            raise OutputError(f"{error}, with --resume --out {path}: what was trained up to now is kept") from None
        raise


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
