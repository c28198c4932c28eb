"""Presets: the YAML files that ship with the package, found by name.

Every preset is self-contained: a header of comments (purpose, where the numbers come from, how to launch it, what to
expect), then every section in full. There is no inheritance; to change one, copy it out and edit the copy.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from titans_seq.config.load import read_text
from titans_seq.errors import ConfigError, unknown_name

_PACKAGE = "titans_seq.configs"


def preset_names() -> list[str]:
    """List the names of the shipped presets, sorted."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _folder().iterdir() if entry.name.endswith(".yaml"))


def preset_text(name: str) -> str:
    """Give the YAML of a preset by name, or of a file when ``name`` looks like a path.

    A name that ends in ``.yaml`` or ``.yml``, or holds a path separator, is read from disk.

    Raises
    ------
    UnknownNameError
        With the nearest shipped names.
    """
    if is_path(name):
        return read_text(Path(name))
    if name not in preset_names():
        raise unknown_name("preset", name, preset_names())
    return _folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def is_path(name: str) -> bool:
    """Tell a path to a preset from the name of a shipped one."""
    return name.endswith((".yaml", ".yml")) or "/" in name or "\\" in name


def preset_header(text: str) -> list[str]:
    """Give the comment block at the top of a preset, without the comment signs."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return lines


def copy_preset(name: str, target: Path) -> Path:
    """Write a preset where it can be edited; refuses to overwrite."""
    text = preset_text(name)
    if target.is_dir():
        target = target / f"{name}.yaml"
    if not target.parent.is_dir():
        raise ConfigError(f"{target}: the folder {target.parent} does not exist")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{target} exists; give another name or remove it first") from None
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written ({error.strerror})") from None
    return target


def _folder() -> Traversable:
    try:
        return files(_PACKAGE)
    except ModuleNotFoundError:
        # A checkout on PYTHONPATH without an install: the folder stands beside the package.
        beside = Path(__file__).resolve().parents[2] / "configs"
        if not beside.is_dir():
            raise
        return beside
