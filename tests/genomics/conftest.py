from collections.abc import Callable
from pathlib import Path

import pytest

from titans_seq.genomics import Genome, open_genome


@pytest.fixture
def genome_of(tmp_path: Path) -> Callable[[dict[str, str]], Genome]:
    """A genome from a dictionary of names and sequences."""

    def make(contigs: dict[str, str]) -> Genome:
        path = tmp_path / "made.fa"
        path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in contigs.items()))
        return open_genome(path, cache_dir=tmp_path / "made-cache")

    return make
