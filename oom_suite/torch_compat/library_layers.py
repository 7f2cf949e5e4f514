"""Operators that run whole layers in a GPU's library, and what torch composes of others instead."""

from __future__ import annotations

from typing import Any

import torch

from oom_suite.torch_compat.probes import Name, needed

NAMES = (
    Name("torch:ops.aten._batch_norm_impl_index.default"),
    Name("torch:ops.aten._cudnn_rnn.default"),
    Name("torch:ops.aten.cudnn_batch_norm.default"),
    Name("torch:ops.aten.miopen_rnn.default"),
)
"""The names of torch behind this module."""

with needed("the shadow and prove lanes need", NAMES):
    batch_norm: Any = torch.ops.aten._batch_norm_impl_index.default
    cudnn_batch_norm: Any = torch.ops.aten.cudnn_batch_norm.default
    cudnn_rnn: Any = torch.ops.aten._cudnn_rnn.default
    miopen_rnn: Any = torch.ops.aten.miopen_rnn.default
