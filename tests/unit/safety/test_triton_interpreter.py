"""The interpreter's bf16 and fp8, corrected, in a process of its own: nothing of it is undone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]

KERNEL = """
import torch
from oom_suite.safety.triton_interpreter import interpret_triton
assert interpret_triton()
import triton, triton.language as tl


@triton.jit
def kernel(a, b, x, dot, total, whole, up, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    left, right = tl.load(a + at), tl.load(b + at)
    tl.store(dot + at, tl.dot(left, right))
    tl.store(total + at, left + right)
    tl.store(whole + at, tl.dot(left, right).to(tl.bfloat16))
    byte = tl.load(x + tl.arange(0, 256))
    tl.store(up + tl.arange(0, 256), byte.to(tl.float8e4nv, bitcast=True).to(tl.float32))


torch.manual_seed(0)
N = 16
a, b = (torch.randn(N, N).to(torch.bfloat16) for _ in range(2))
dot, total = torch.empty(N, N), torch.empty(N, N, dtype=torch.bfloat16)
whole, up = torch.empty(N, N, dtype=torch.bfloat16), torch.empty(256)
x = torch.arange(256).to(torch.uint8)
kernel[(1,)](a, b, x, dot, total, whole, up, N)
right = a.float() @ b.float()
assert torch.allclose(dot, right, rtol=1e-6, atol=1e-5), (dot, right)
assert torch.equal(total, a + b)
assert torch.equal(whole, dot.to(torch.bfloat16))
want = x.view(torch.float8_e4m3fn).float()
assert torch.equal(up.nan_to_num(nan=-1), want.nan_to_num(nan=-1))
assert not a.is_cpu
print("corrected")
"""

LATE = """
import triton
from oom_suite.safety.triton_interpreter import interpret_triton
try:
    interpret_triton()
except Exception as error:
    print(error)
"""


def said(tmp_path, source):
    pytest.importorskip("triton", reason="needs the extra `triton`")
    file = tmp_path / "program.py"  # Triton reads a kernel's source from its file
    file.write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(file)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


def test_products_sums_roundings_and_nan_are_torchs(tmp_path):
    """A dot of bf16, a sum of bf16, rounding to bf16, and every byte of e4m3fn, NaN included."""
    assert "corrected" == said(tmp_path, KERNEL)


def test_without_the_correction_the_same_dot_is_garbage(tmp_path):
    """The test can fail: Triton's own interpreter multiplies the integers that hold the bits."""
    own = KERNEL.replace("assert interpret_triton()", "import os; os.environ[VARIABLE] = '1'")
    own = own.replace("import interpret_triton", "import VARIABLE")
    with pytest.raises(AssertionError, match=r"assert torch\.allclose\(dot"):
        said(tmp_path, own)


def test_a_triton_that_is_loaded_already_cannot_be_made_to_interpret(tmp_path):
    """The choice is made at import; too late is an error, not a silent run on no GPU."""
    assert "Triton was imported before its interpreter could be chosen" == said(tmp_path, LATE)
