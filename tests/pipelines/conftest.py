from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    path = tmp_path / "small.fa"
    path.write_text(">one\n" + "".join(np.random.default_rng(3).choice(list("ACGT"), 3000)) + "\n")
    return path
