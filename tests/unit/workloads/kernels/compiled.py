"""Run by `test_compiled.py` in a process of its own: compiles kernels for GPUs that are not here.

Writes, as JSON, of each kernel for Hopper the bytes of shared memory, and whether the instructions
are there that it is about; of each for AMD's GPUs its vector registers, and how many values are
kept in memory for want of more.
"""

from __future__ import annotations

import json
import re
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.experimental.gluon._runtime import GluonASTSource

from oom_suite.workloads.sparse_mla.kernels.on_triton import (
    decode,
    decode_hopper,
    gather,
    gather_hopper,
    prefill,
)

HOPPER = GPUTarget("cuda", 90, 32)
FP8_OF_AMD = {"gfx942": "fnuz", "gfx950": "fn"}
INDICES = ("slot_indices", "seq_lens", "wanted_lens", "block_table", "swa_indices", "swa_lens")
INDICES += ("extra_indices", "extra_lens", "memory", "flags", "topk_indices", "query_start_loc")
INDICES += ("compressed_lens", "table", "num_union", "slots", "indices", "lens", "gather_lens")
INDICES += ("swa_table",)
TYPES = {
    **dict.fromkeys(("out", "output", "q"), "*bf16"),
    **dict.fromkeys(("pool", "swa_pool", "extra_pool"), "*u8"),
    **dict.fromkeys(("sink", "partial", "lse"), "*fp32"),
    "factor": "fp32",
    **dict.fromkeys(INDICES, "*i32"),
}
DECODE = {"HAS_EXTRA": True, "HAS_SINK": True}
BLOCKS = {"SWA_BLOCK_SIZE": 64, "EXTRA_BLOCK_SIZE": 64}
CHUNK = {"BLOCK_SIZE": 64, "RATIO": 4, "COLUMNS": 256, "REQUESTS": 32}
PREFILL = {
    "clear_kernel": ({"WORDS": 4096}, 4),
    "mark_kernel": (CHUNK, 4),
    "rank_kernel": ({"BLOCK_SIZE": 64, "WORDS": 128, "BEFORE": 4096, "HAS_NUM_UNION": True}, 8),
    "combine_kernel": (CHUNK | {"SWA_BLOCK_SIZE": 64, "WINDOW": 128, "IS_UNION": True}, 4),
}


def compiled(source, target, kernel, constants, num_warps):
    """The kernel, with every pointer and number a multiple of 16 as pages' strides are."""
    names = kernel.arg_names
    types = {name: TYPES.get(name, "i32") for name in names}
    made = source(
        kernel,
        {name: "constexpr" if name in constants else kind for name, kind in types.items()},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={
            (number,): [["tt.divisibility", 16]]
            for number, name in enumerate(names)
            if name not in constants and name != "factor"
        },
    )
    return triton.compile(made, target=target, options={"num_warps": num_warps})


def for_hopper():
    """Shared memory of each, and what it copies or reads."""
    for name in ("gather_sparse_kernel", "gather_dense_kernel"):
        kernel = getattr(gather_hopper, name)
        made = compiled(GluonASTSource, HOPPER, kernel, {"BLOCK_SIZE": 64}, 1)
        copies = "cp.async.bulk.global.shared::cta.bulk_group" in made.asm["ptx"]
        yield name, [made.metadata.shared, copies]
    sizes = DECODE | {"SWA_SIZE": 64, "ROWS": 64}
    for programs in (1, 8):
        for size in (64, 2):
            constants = sizes | {"EXTRA_SIZE": size, "PROGRAMS": programs}
            made = compiled(GluonASTSource, HOPPER, decode_hopper.decode_kernel, constants, 8)
            reads = "ld.shared::cluster" in made.asm["ptx"]
            yield f"decode_kernel {programs} {size}", [made.metadata.shared, reads]


def for_amd(arch, fp8):
    """Registers of each, and values that are kept in memory."""
    is_fnuz = {"IS_FNUZ": fp8 == "fnuz"}
    rows = {"BLOCK_SIZE": 64, "ROWS": 8, **is_fnuz}
    heads = DECODE | BLOCKS | is_fnuz | {"HEADS": 16, "KEYS": 32, "SPLITS": 2}
    kernels = {
        "gather_sparse_kernel": (gather, rows, 4),
        "gather_dense_kernel": (gather, rows, 4),
        "decode_kernel": (decode, heads, 4),
        "merge_kernel": (decode, {"SPLITS": 2, "HAS_SINK": True}, 4),
        **{name: (prefill, *given) for name, given in PREFILL.items()},
    }
    for name, (module, constants, num_warps) in kernels.items():
        target = GPUTarget("hip", arch, 64)
        made = compiled(ASTSource, target, getattr(module, name), constants, num_warps)
        text = made.asm["amdgcn"]
        counts = (r"\.vgpr_count:\s*(\d+)", r"\.vgpr_spill_count:\s*(\d+)")
        yield f"{name} {arch}", [int(re.findall(count, text)[0]) for count in counts]


def main():
    """All of them."""
    found = dict(for_hopper())
    for arch, fp8 in FP8_OF_AMD.items():
        found.update(for_amd(arch, fp8))
    sys.stdout.write(json.dumps(found))


main()
