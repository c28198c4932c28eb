"""Open what `titans-seq train-regions` left: the labelling task and its decoder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from titans_seq.config import TrainRegionsConfig, parse_config
from titans_seq.config.load import read_mapping
from titans_seq.errors import InputFileError
from titans_seq.genomics.codon_scores import CodonScores
from titans_seq.genomics.gene_weights import GeneWeights
from titans_seq.genomics.introns import Introns
from titans_seq.genomics.labels import LabelScheme
from titans_seq.genomics.open_frames import genetic_code
from titans_seq.genomics.splice_sites import SpliceSites
from titans_seq.genomics.start_sites import StartSites
from titans_seq.streaming.model import model_file
from titans_seq.tasks.base_labels import BaseLabels
from titans_seq.tasks.build_regions import build_base_labels
from titans_seq.tasks.gene_calls import GeneCaller
from titans_seq.tasks.run_calls import RunRule
from titans_seq.tasks.spliced_calls import SplicedCaller
from titans_seq.tensor_files import load_tensors, load_weights, read_metadata


@dataclass(frozen=True, slots=True)
class RegionsModel:
    """A trained labelling model.

    Attributes
    ----------
    task
        In evaluation mode, on the device asked for.
    caller
        Its decoder; None where genes are not put together.
    config
        What it was trained with.
    path
        The file that the weights came from.
    rules
        Of each class that is written as runs of bases.
    """

    task: BaseLabels
    caller: GeneCaller | SplicedCaller | None
    config: TrainRegionsConfig
    path: Path
    rules: Mapping[str, RunRule] = field(default_factory=dict)

    @property
    def scheme(self) -> LabelScheme:
        """What a base can be."""
        return LabelScheme(self.config.labels.classes, self.config.labels.frames)


def open_regions_model(path: Path, *, device: torch.device | str = "cpu") -> RegionsModel:
    """Read a run of ``titans-seq train-regions``.

    Raises
    ------
    InputFileError
        No such run, not finished, of another kind, or not a model of ours.
    """
    file = model_file(path)
    words = read_metadata(file)
    text = words.get("config")
    if text is None:
        raise InputFileError(file, expected="weights written by titans-seq train-regions", found="no configuration")
    kind = read_mapping(text, source=str(file)).get("pipeline")
    if kind != "train_regions":
        raise InputFileError(file, expected="a run of titans-seq train-regions", found=f"a run of {kind}")
    config = parse_config(TrainRegionsConfig, text, source=str(file))
    task = build_base_labels(config)
    tensors = load_tensors(file)
    load_weights(task, _under(tensors, "task/"), where=file)
    record = json.loads(words.get("decoder", "null"))
    caller: GeneCaller | SplicedCaller | None = None
    tables = {name: value.numpy() for name, value in _under(tensors, "codons/").items()}
    at_starts = {name: value.numpy() for name, value in _under(tensors, "sites/").items()}
    if record is not None and record.get("kind") == "spliced":
        caller = _spliced(record, tables, config, file)
    elif record is not None:
        try:
            weights, codons = GeneWeights.from_json(record), CodonScores(**tables)
            sites = StartSites(**at_starts) if at_starts else None
        except (ValueError, KeyError, TypeError) as error:
            raise InputFileError(file, problem=f"its decoder cannot be read ({error})", hint="train again") from None
        settings = config.labels
        caller = GeneCaller(
            LabelScheme(settings.classes, settings.frames),
            genetic_code(settings.translation_table, starts=settings.start_codons or None),
            codons,
            weights,
            config.decoder.min_length,
            config.decoder.max_overlap,
            sites=sites,
        )
    rules = _rules(words, {name: value.numpy() for name, value in _under(tensors, "runs/").items()}, file)
    return RegionsModel(task=task.to(device).eval(), caller=caller, config=config, path=file, rules=rules)


def _rules(words: Mapping[str, str], letters: Mapping[str, Any], file: Path) -> dict[str, RunRule]:
    try:
        if "runs" not in words:  # a model from before letters could be asked
            return {
                kind: RunRule(offset=float(value)) for kind, value in json.loads(words.get("offsets", "{}")).items()
            }
        return {
            kind: RunRule(float(rule["offset"]), letters.get(kind), float(rule["penalty"]))
            for kind, rule in json.loads(words["runs"]).items()
        }
    except (ValueError, KeyError, TypeError) as error:
        raise InputFileError(file, problem=f"its rules of runs cannot be read ({error})", hint="train again") from None


def _spliced(record: dict[str, Any], tables: dict[str, Any], config: TrainRegionsConfig, file: Path) -> SplicedCaller:
    settings = config.labels
    try:
        sites, hexamers = SpliceSites.from_json(record["sites"]), tables["hexamers"]
        introns = Introns.unknown()  # a model from before they were counted
        if "introns" in record:
            near, slope = np.array(record["introns"]["near"]), float(record["introns"]["slope"])
            introns = Introns(tables["introns"], near, slope)
        evidence, content, cost = (float(record[name]) for name in ("evidence", "content", "cost"))
    except (ValueError, KeyError, TypeError) as error:
        raise InputFileError(file, problem=f"its decoder cannot be read ({error})", hint="train again") from None
    return SplicedCaller(
        LabelScheme(settings.classes, settings.frames),
        genetic_code(settings.translation_table, starts=settings.start_codons or None),
        settings.start_codons or ("ATG",),
        sites,
        hexamers,
        introns,
        evidence,
        content,
        cost,
        config.decoder.min_length,
    )


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
