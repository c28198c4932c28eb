"""A classifier's training job: labelled sequences, read, checked and parted before anything is written."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from titans_seq.config import TrainClassifierConfig, parse_config, preset_text
from titans_seq.config.overrides import apply_overrides
from titans_seq.config.train_classifier import LabelledSection
from titans_seq.errors import ConfigError, StateMismatchError, unknown_name
from titans_seq.genomics.labelled import (
    LabelledSequences,
    check_parts,
    check_trainable,
    drop_seen,
    held_out_rows,
)
from titans_seq.genomics.labelled_files import Columns, open_labelled, read_split_table
from titans_seq.genomics.store import open_genome
from titans_seq.training.run_folder import check_same, open_run, refuse_existing

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]
DEFAULT_PRESET = "classifier-small"
MOST_POSITIONS = 2000


@dataclass(frozen=True)
class Parts:
    """Training, dev and test part, with the classes in the same order."""

    train: LabelledSequences
    dev: LabelledSequences
    test: LabelledSequences

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the model's outputs."""
        return self.train.classes


@dataclass(frozen=True)
class ClassifierJob:
    """What is to be done.

    Attributes
    ----------
    config
        Resolved settings.
    parts
        What is learned from, watched and scored.
    out
        The run folder; made only when training begins.
    inputs
        What ``run.json`` records: paths, classes, and a checksum of every part.
    resume
        Whether the folder holds a run that goes on.
    pretrained
        Weights of a next-base model to start from.
    """

    config: TrainClassifierConfig
    parts: Parts
    out: Path
    inputs: dict[str, Any]
    resume: bool = False
    pretrained: Mapping[str, Tensor] | None = None


def read_parts(
    settings: LabelledSection,
    *,
    train: Sequence[str],
    dev: Sequence[str] = (),
    test: Sequence[str] = (),
    genome: str | None = None,
    seed: int = 0,
    identical: bool = False,
) -> Parts:
    """Read labelled sequences and part them; parts given as files are kept as they are.

    Parameters
    ----------
    identical
        Allow a held-out part that is the training part itself.

    Raises
    ------
    InputFileError, ConfigError
        What no classifier can be trained on; see `titans_seq.genomics.labelled`.
    """
    columns = Columns(settings.sequence_column, settings.label_column, settings.name_column, header=settings.columns)
    store = None if genome is None else open_genome(genome)
    given = {
        name: open_labelled(sources, columns=columns, genome=store)
        for name, sources in (("dev", dev), ("test", test))
        if sources
    }
    if settings.split_column is not None:
        whole = read_split_table(train, columns, split_column=settings.split_column)
        data = whole.pop("train")
        given = {**whole, **given}
    else:
        data = open_labelled(train, columns=columns, genome=store)
    data = check_trainable(data, conflicts=settings.conflicts)
    if settings.positive is not None:
        if settings.positive not in data.classes:
            raise unknown_name("class", settings.positive, data.classes)
        others = [name for name in data.classes if name != settings.positive]
        data = data.with_classes([*others, settings.positive])
    given = {name: part.with_classes(data.classes) for name, part in given.items()}
    for name, part in given.items():
        if not identical:
            check_parts(data, part, name=name)
    for name, fraction in (("test", settings.test_fraction), ("dev", settings.dev_fraction)):
        if name not in given:
            rows = held_out_rows(data, fraction=fraction, seed=seed)
            given[name] = data.take(rows)
            data = data.take(np.setdiff1d(np.arange(len(data)), rows))
    if settings.drop_seen:
        data = drop_seen(data, given["dev"], given["test"])
    return Parts(check_trainable(data), given["dev"], given["test"])


def prepare(
    *,
    sources: Sequence[str],
    dev: Sequence[str] = (),
    test: Sequence[str] = (),
    genome: str | None = None,
    preset: str | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
) -> ClassifierJob:
    """Read and check everything; nothing is written.

    Parameters
    ----------
    sources, dev, test
        Files, as `titans_seq.genomics.labelled_files.open_labelled` takes them; when a run goes on they may be
        left out.
    genome
        FASTA that the sources, BED files then, are intervals of.
    """
    if resume:
        if out is None:
            raise ConfigError("expected the run folder to go on with; give it as --out")
        before, inputs = open_run(out, TrainClassifierConfig)
        data = apply_overrides(before.model_dump(mode="json"), overrides, kind=TrainClassifierConfig)
        config = TrainClassifierConfig.model_validate(data)
        check_same(before, config, path=out)
        named = {"train": list(sources) or inputs["train"], "dev": list(dev) or inputs["dev"]}
        named |= {"test": list(test) or inputs["test"], "genome": genome or inputs["genome"], "from": inputs["from"]}
        return open_job(config, named, out=out, expected=inputs["checksums"])
    preset = preset or DEFAULT_PRESET
    config = parse_config(TrainClassifierConfig, preset_text(preset), source=preset, overrides=overrides)
    if not sources:
        raise ConfigError("expected files with labelled sequences, found none; see titans-seq train-classifier --help")
    if out is None:
        raise ConfigError("expected a run folder; give it as --out")
    refuse_existing(out)
    named = {"train": [absolute(name) for name in sources], "dev": [absolute(name) for name in dev]}
    named |= {"test": [absolute(name) for name in test], "genome": genome and absolute(genome), "from": None}
    return open_job(config, named, out=out)


def open_job(
    config: TrainClassifierConfig, named: dict[str, Any], *, out: Path, expected: dict[str, str] | None = None
) -> ClassifierJob:
    """Read the files of a job; ``expected`` are the checksums of the run that goes on."""
    files = {name: named[name] for name in ("train", "dev", "test", "genome")}
    parts = read_parts(config.data, **files, seed=config.run.seed)
    sums = {name: checksum(getattr(parts, name)) for name in ("train", "dev", "test")}
    if expected is not None and sums != expected:
        changed = ", ".join(name for name in sums if sums[name] != expected.get(name))
        raise StateMismatchError(f"{out}: was trained on other sequences ({changed} part); give the same files")
    describe(parts)
    if config.classifier.positions is None:
        longest = min(int(parts.train.lengths.max()), MOST_POSITIONS)
        config = config.model_copy(update={"classifier": config.classifier.model_copy(update={"positions": longest})})
    inputs = {**named, "classes": list(parts.classes), "checksums": sums}
    return ClassifierJob(config, parts, out, inputs, resume=expected is not None)


def from_pretrained(
    job: ClassifierJob, *, path: Path, model: Any, input_section: Any, weights: Mapping[str, Tensor]
) -> ClassifierJob:
    """Take encoder and contexts of a next-base run (its ``model`` and ``input`` sections, and its weights)."""
    around = job.config.classifier.model_copy(update={"front": "context", "both_ways": False})
    window = job.config.evaluation.window
    border = model.border
    evaluation = job.config.evaluation.model_copy(update={"window": -(-window // border) * border})
    config = job.config.model_copy(
        update={"model": model, "input": input_section, "classifier": around, "evaluation": evaluation}
    )
    return replace(job, config=config, inputs={**job.inputs, "from": str(path.absolute())}, pretrained=weights)


def checksum(data: LabelledSequences) -> str:
    """Hash sequences, labels and classes; where they came from does not count."""
    digest = hashlib.sha256("\0".join(data.classes).encode())
    for array in (data.tokens, data.offsets, data.labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def describe(parts: Parts) -> None:
    """Log the size of every part and class."""
    for name in ("train", "dev", "test"):
        data = getattr(parts, name)
        classes = ", ".join(f"{label} {count:,}" for label, count in data.counts().items())
        lengths = data.lengths
        span = (
            f"{lengths.min()} bases" if lengths.min() == lengths.max() else f"{lengths.min()} to {lengths.max()} bases"
        )
        unknown = int((data.tokens > 3).sum())
        _log.info("%s: %s sequences (%s), %s, %s N", name, f"{len(data):,}", classes, span, f"{unknown:,}")


def absolute(source: str) -> str:
    """Make the path in ``path`` or ``class=path`` absolute."""
    name, sign, path = source.partition("=")
    if sign and name and "/" not in name and not Path(source).exists():
        return f"{name}={Path(path).absolute()}"
    return str(Path(source).absolute())
