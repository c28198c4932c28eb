"""Run commands on a disk that is nearly full, and again when there is room; `test_full_disk.py` starts it.

    unshare -m python -m tests.cli.on_a_full_disk DISK CASES

mounts a small disk of its own over the folder DISK; the mount goes with the process. CASES is JSON,
``[[kilobytes left, name of the output, [arguments]], ...]``; prints what each call gave, as JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from titans_seq.cli import main

MEGABYTES = 8


def call(arguments: list[str], out: Path) -> dict[str, Any]:
    """Exit code, standard error, and what lies in the folder of ``out``, without folders that go on (work, parts)."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main(["-q", *arguments, "-o", str(out)])
        except SystemExit as stop:
            code = stop.code
    files = {path.name: path.read_bytes().hex() for path in sorted(out.parent.iterdir()) if path.is_file()}
    return {"code": code, "err": said.getvalue(), "files": files}


def on_both(disk: Path, left: int, name: str, arguments: list[str]) -> list[dict[str, Any]]:
    """Call with so many kilobytes left, and again with all of the disk."""
    folder = disk / "out"
    folder.mkdir()
    filler = disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - 1024 * left))
    first = call(arguments, folder / name)
    filler.unlink()
    second = call(arguments, folder / name)
    shutil.rmtree(folder)
    return [first, second]


if __name__ == "__main__":
    place, cases = Path(sys.argv[1]), json.loads(sys.argv[2])
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(place)], check=True)
    sys.stdout.write(json.dumps([on_both(place, *case) for case in cases]))
