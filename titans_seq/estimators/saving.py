"""A fitted embedder as one safetensors file: weights, parameters, scale. No pickle.

The header holds ``titans_embedder``, JSON of what is listed in `_record`, and for bases ``config``, so that the same
file also opens as a model of ``titans-seq train-dna``.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from titans_seq.config import TrainDnaConfig, dump_config, parse_config
from titans_seq.errors import InputFileError
from titans_seq.estimators.series import Scale
from titans_seq.tasks.build import build_next_base
from titans_seq.tensor_files import load_tensors, load_weights, read_metadata, save_tensors

if TYPE_CHECKING:
    from titans_seq.estimators.embedder import TitansEmbedder

KEY = "titans_embedder"
VERSION = 1

E = TypeVar("E", bound="TitansEmbedder")


def save(embedder: TitansEmbedder, path: str | os.PathLike[str]) -> None:
    """Write a fitted embedder."""
    metadata = {KEY: json.dumps(_record(embedder), sort_keys=True)}
    if embedder.domain_ == "dna":
        metadata["config"] = dump_config(embedder.config_)
    save_tensors(Path(path), embedder.task_.state_dict(), metadata=metadata)


def fingerprint(embedder: TitansEmbedder) -> str:
    """SHA-256, hexadecimal, of what `save` would write."""
    digest = hashlib.sha256(json.dumps(_record(embedder), sort_keys=True).encode())
    for name, value in sorted(embedder.task_.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def load(kind: type[E], path: str | os.PathLike[str]) -> E:
    """Read what `save` wrote."""
    file = Path(path)
    metadata = read_metadata(file)
    try:
        record = json.loads(metadata[KEY])
        version = record["version"]
    except (KeyError, ValueError, TypeError):
        raise InputFileError(path, expected="a file written by TitansEmbedder.save", found="something else") from None
    if version > VERSION:
        raise InputFileError(path, expected=f"version {VERSION}", found=str(version), hint="update titans-seq")
    embedder = kind(**record["parameters"])
    embedder.domain_ = record["domain"]
    if embedder.domain_ == "dna":
        embedder.config_ = parse_config(TrainDnaConfig, metadata["config"], source=str(path))
        embedder.task_ = build_next_base(embedder.config_).to(embedder.device).eval()
    else:
        scale = record["scale"]
        embedder.scale_ = Scale(scale["name"], np.array(scale["centre"]), np.array(scale["spread"]))
        embedder.task_ = embedder.build_series(channels=len(scale["centre"]))
    if "features" in record:
        embedder.n_features_in_ = record["features"]
    if "feature_names" in record:
        embedder.feature_names_in_ = np.array(record["feature_names"], dtype=object)
    load_weights(embedder.task_, load_tensors(file), where=file)
    return embedder


def _record(embedder: TitansEmbedder) -> dict[str, Any]:
    parameters = embedder.get_params()
    for name in ("model", "genome", "regions"):
        parameters[name] = None if parameters[name] is None else os.fspath(parameters[name])
    if not isinstance(parameters["random_state"], int):
        parameters["random_state"] = None  # a generator's position is no parameter of what was fitted
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in parameters.items()}
    record: dict[str, Any] = {"version": VERSION, "parameters": plain, "domain": embedder.domain_}
    if embedder.domain_ == "series":
        scale = embedder.scale_
        record["scale"] = {"name": scale.name, "centre": scale.centre.tolist(), "spread": scale.spread.tolist()}
    if hasattr(embedder, "n_features_in_"):
        record["features"] = embedder.n_features_in_
    if hasattr(embedder, "feature_names_in_"):
        record["feature_names"] = embedder.feature_names_in_.tolist()
    return record
