"""Run by `test_compiled.py` in a process of its own: compiles Hopper's kernels without a GPU.

Writes, as JSON, the bytes of shared memory of each, and whether the instructions are there that
it is about.
"""

from __future__ import annotations

import json
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.experimental.gluon._runtime import GluonASTSource

from oom_suite.workloads.sparse_mla.kernels.on_triton import decode_hopper, gather_hopper

HOPPER = GPUTarget("cuda", 90, 32)
TYPES = {
    **dict.fromkeys(("out", "output", "q"), "*bf16"),
    **dict.fromkeys(("pool", "swa_pool", "extra_pool"), "*u8"),
    "sink": "*fp32",
    "factor": "fp32",
}
INDICES = ("slot_indices", "seq_lens", "wanted_lens", "block_table")
INDICES += ("swa_indices", "swa_lens", "extra_indices", "extra_lens")
DECODE = {"SWA_SIZE": 64, "HAS_EXTRA": True, "HAS_SINK": True, "ROWS": 64}


def compiled(kernel, constants, num_warps):
    """The kernel, with every pointer and number a multiple of 16 as pages' strides are."""
    names = kernel.arg_names
    types = {name: TYPES.get(name, "*i32" if name in INDICES else "i32") for name in names}
    source = GluonASTSource(
        kernel,
        {name: "constexpr" if name in constants else kind for name, kind in types.items()},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={
            (number,): [["tt.divisibility", 16]]
            for number, name in enumerate(names)
            if name not in constants and name != "factor"
        },
    )
    return triton.compile(source, target=HOPPER, options={"num_warps": num_warps})


def main():
    """All of them."""
    found = {}
    for name in ("gather_sparse_kernel", "gather_dense_kernel"):
        made = compiled(getattr(gather_hopper, name), {"BLOCK_SIZE": 64}, 1)
        copies = "cp.async.bulk.global.shared::cta.bulk_group" in made.asm["ptx"]
        found[name] = [made.metadata.shared, copies]
    for programs in (1, 8):
        for size in (64, 2):
            constants = DECODE | {"EXTRA_SIZE": size, "PROGRAMS": programs}
            made = compiled(decode_hopper.decode_kernel, constants, 8)
            reads = "ld.shared::cluster" in made.asm["ptx"]
            found[f"decode_kernel {programs} {size}"] = [made.metadata.shared, reads]
    sys.stdout.write(json.dumps(found))


main()
