"""Predictions of sequences as a table: CSV text, a CSV file or Parquet, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars

from titans_seq.errors import ConfigError
from titans_seq.files import replacing
from titans_seq.genomics.labelled import LabelledSequences


def write_predictions(
    path: Path | None,
    data: LabelledSequences,
    probabilities: npt.NDArray[np.float64],
    *,
    classes: Sequence[str],
) -> str:
    """Write ``name [contig start end strand] [label] predicted p_<class> ...``, a row for each sequence.

    Parameters
    ----------
    path
        ``.csv``, ``.tsv`` or ``.parquet``; None gives the CSV as text.

    Returns
    -------
    str
        The text, empty where a file was written.
    """
    columns: dict[str, Any] = {"name": list(data.names)}
    if data.spans is not None:
        columns |= {"contig": [data.contigs[i] for i in data.spans[:, 0]], "start": data.spans[:, 1]}
        columns |= {"end": data.spans[:, 2], "strand": ["-" if s < 0 else "+" for s in data.spans[:, 3]]}
    if (data.labels >= 0).any():
        columns["label"] = [data.classes[label] if label >= 0 else None for label in data.labels.tolist()]
    columns["predicted"] = [classes[answer] for answer in probabilities.argmax(axis=1).tolist()]
    columns |= {f"p_{name}": probabilities[:, number] for number, name in enumerate(classes)}
    frame = polars.DataFrame(columns)
    if path is None:
        return frame.write_csv(float_precision=6)
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv", ".parquet"):
        raise ConfigError(f"{path}: expected a name that ends in .csv, .tsv or .parquet")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: the folder {path.parent} does not exist")
    with replacing(path) as temporary:
        if suffix == ".parquet":
            frame.write_parquet(temporary)
        else:
            frame.write_csv(temporary, float_precision=6, separator="\t" if suffix == ".tsv" else ",")
    return ""
