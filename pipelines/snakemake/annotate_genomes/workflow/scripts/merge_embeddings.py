"""Join Parquet parts into one table with a column for the assembly, without holding them in memory."""

from pathlib import Path

import polars as pl

from titans_seq.files import replacing


def assembly(part: str) -> str:
    """``results/parts/NAME.TAG.parquet`` is of NAME."""
    return Path(part).name.removesuffix(".parquet").rpartition(".")[0]


parts = [pl.scan_parquet(part).with_columns(assembly=pl.lit(assembly(part))) for part in snakemake.input]
with replacing(Path(snakemake.output[0])) as temporary:
    pl.concat(parts).sink_parquet(temporary)
