"""Sessions on disk: safetensors with a JSON header; FORMAT.md beside this file is the specification."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from titans_seq.errors import InputFileError
from titans_seq.streaming.place import Place
from titans_seq.tasks import NextBase
from titans_seq.tensor_files import load_tensors, read_metadata, save_tensors

FORMAT = "titans-seq session"
VERSION = 2


@dataclass(frozen=True, slots=True)
class SavedSession:
    """What a session's file holds."""

    tensors: dict[str, Tensor]
    model: str
    tokens: int
    rows: int
    place: Place | None


def model_hash(task: NextBase) -> str:
    """SHA-256, hexadecimal, of a model's kind, the configuration of encoder and table, and weights."""
    digest = hashlib.sha256(type(task).__name__.encode())
    settings = dict(task.encoder.config)
    if task.mixing is not None:
        settings["table"] = {**asdict(task.mixing.table.spec), "rate": task.mixing.rate}
    digest.update(json.dumps(settings, sort_keys=True, default=dict).encode())
    for name, value in sorted(task.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def write_session(
    path: Path, tensors: Mapping[str, Tensor], *, model: str, tokens: int, rows: int, place: Place | None
) -> None:
    """Write a session, whole or not at all."""
    header = {
        "format": FORMAT, "version": VERSION, "model": model, "tokens": tokens, "rows": rows,
        "place": None if place is None else place.to_json(),
    }  # fmt: skip
    save_tensors(path, tensors, metadata={"titans_seq": json.dumps(header, sort_keys=True)})


def read_session(path: Path) -> SavedSession:
    """Read a session, or say in one line why not."""
    try:
        header = json.loads(read_metadata(path).get("titans_seq", "{}"))
    except json.JSONDecodeError as error:
        raise InputFileError(path, expected="JSON in the header", found=str(error)) from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputFileError(path, expected=f"a {FORMAT} file", found="a safetensors file of something else")
    version = _number(path, header, "version")
    if version > VERSION:
        raise InputFileError(
            path, expected=f"session version {VERSION} or older", found=f"version {version}", hint="update titans-seq"
        )
    tensors = load_tensors(path)
    if "logits" not in tensors:
        raise InputFileError(path, expected="a tensor 'logits'", found=f"{sorted(tensors)[:5]}")
    place = header.get("place")
    try:
        return SavedSession(
            tensors=tensors,
            model=str(header["model"]),
            tokens=_number(path, header, "tokens"),
            rows=_number(path, header, "rows"),
            place=None if place is None else Place(**{name: place[name] for name in Place.__dataclass_fields__}),
        )
    except (KeyError, TypeError) as error:
        raise InputFileError(path, expected=f"{error} in the header", found="none") from None


def _number(path: Path, header: Mapping[str, Any], name: str) -> int:
    value = header.get(name)
    if type(value) is not int or value < 0:
        raise InputFileError(path, expected=f"a number from 0 as {name!r} in the header", found=repr(value))
    return value
