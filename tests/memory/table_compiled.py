"""The table's Triton kernels compiled ahead of time for two cards: do they fit without spilling?

Run by `test_table_triton.py` in a process without the interpreter, as `tests/ops/triton/compiled.py` is by its own.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from titans_seq.memory.table_slots import CAP
from titans_seq.ops.triton import table

KERNELS = [table.look_up_forward, table.claim_forward, table.halve_forward, table.count_forward]
TYPES = {
    "plane": "*u8", "counts": "*u8", "said": "*u8", "moves": "*u8", "checks": "*i16", "tag": "*i16", "tags": "*i16",
    "claim": "*i16", "words": "*i32", "slot": "*i64", "symbol": "*i64", "place": "*i64", "events": "i32",
}  # fmt: skip


def cuobjdump() -> Path:
    return Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


pytestmark = pytest.mark.skipif(not cuobjdump().is_file(), reason="this triton wheel has no assembler beside it")


@pytest.mark.parametrize("card", [80, 90])
@pytest.mark.parametrize("alphabet", [4, 254])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.__name__)
def test_fits_without_spilling(kernel: Any, alphabet: int, card: int, tmp_path: Path) -> None:
    names = kernel.arg_names
    constants = {
        "A": alphabet, "WIDE": triton.next_power_of_2(alphabet), "BLOCK": table.block(alphabet), "CAP": CAP,
        "CERTAIN": 4,
    }  # fmt: skip
    source = ASTSource(
        fn=kernel,
        signature={name: "constexpr" if name in constants else TYPES[name] for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items() if name in names},
        attrs={(names.index(n),): [["tt.divisibility", 16]] for n in names if n not in constants and n != "events"},
    )
    built = triton.compile(source, target=GPUTarget("cuda", card, 32))
    binary = tmp_path / "kernel.cubin"
    binary.write_bytes(built.asm["cubin"])
    said = subprocess.run([cuobjdump(), "-res-usage", binary], capture_output=True, text=True, check=True).stdout
    stack = re.search(r"STACK:(\d+)", said)
    assert stack, said
    assert int(stack[1]) == 0
    assert built.metadata.shared <= 48 * 1024
