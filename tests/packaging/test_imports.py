"""Who may import what: the contracts of pyproject.toml, a light front door, and a core that needs torch alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# What `pip install torch` brings, and what torch itself is made of; numpy is not among them.
TORCH = [
    "torch",
    "torchgen",
    "functorch",
    "triton",
    "filelock",
    "fsspec",
    "jinja2",
    "markupsafe",
    "mpmath",
    "networkx",
    "setuptools",
    "_distutils_hack",
    "sympy",
    "typing_extensions",
]

ALONE = f"""
import sys

ALLOWED = {{*sys.stdlib_module_names, "titans_seq", *{TORCH!r}}}

class Wall:
    # The usual finders, for the allowed names only; any other module is simply not there.
    finders = list(sys.meta_path)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ALLOWED or name.startswith("_sysconfigdata"):
            found = (finder.find_spec(name, path, target) for finder in self.finders)
            return next(filter(None, found), None)

sys.meta_path[:] = [Wall()]
import torch
import titans_seq.memory, titans_seq.ops
from titans_seq.models import Encoder

torch.manual_seed(0)
encoder = Encoder(variant="lmm", memory="titans_lmm", d_model=16, n_layers=1, n_heads=2, chunk_size=4)
y, state = encoder(torch.randn(2, 9, 16))
assert y.shape == (2, 9, 16) and y.isfinite().all()
y.square().mean().backward()
print("numpy" in sys.modules)
"""


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)


def test_import_contracts(repo: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=repo, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_importing_the_package_is_light(repo: Path) -> None:
    done = python("-c", "import sys, titans_seq; dir(titans_seq); print(*sys.modules)", cwd=repo)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "numpy", "click", "pydantic"} & set(done.stdout.split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_command_answers_without_torch(arguments: list[str], repo: Path) -> None:
    done = python("-X", "importtime", "-m", "titans_seq", *arguments, cwd=repo)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "titans-seq" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "titans_seq" in imported
    assert not {"torch", "numpy", "polars", "sklearn", "lightning_fabric"} & imported


def test_the_core_needs_torch_alone(repo: Path) -> None:
    done = python("-c", ALONE, cwd=repo)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "False"


def test_every_public_name_is_there() -> None:
    import titans_seq

    assert all(getattr(titans_seq, name) is not None for name in titans_seq.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Decoder'"):
        titans_seq.Decoder  # noqa: B018
