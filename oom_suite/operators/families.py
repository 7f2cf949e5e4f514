"""The operators that were looked at and take nothing inside: by torch's tags, and by name.

Each family has the reason that holds for all of it. What stands in none of them, and in no table
of formulas, bounds or names, was not looked at: `oom_suite.operators.scratch` names it as unseen.

A name ends in ``*`` where it is the beginning of several.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from oom_suite.operators.operands import operator
from oom_suite.torch_compat.dispatch import is_elementwise, is_view

if TYPE_CHECKING:
    from oom_suite.torch_compat.dispatch import OpOverload

TAKES_NOTHING: dict[str, str] = {
    "factories and copies: one kernel that fills the result": """
        _conj_copy _copy_from _efficientzerotensor _fw_primal_copy _indices_copy _lazy_clone
        _make_dual_copy _neg_view_copy _new_zeros_with_same_feature_meta _nested_*copy
        _pin_memory _reshape_alias _reshape_alias_copy _reshape_copy _resize_output*
        _test_autograd* _to_copy _unsafe_view _values_copy alias_copy arange as_strided_copy
        ccol_indices_copy clone col_indices_copy complex contiguous copy copy_ crow_indices_copy
        detach_copy diagonal_copy empty* expand_copy eye fill fill_ full full_like indices_copy
        lift lift_fresh lift_fresh_copy linspace logspace narrow_copy new_* ones ones_like
        permute_copy polar range resize resize_ resize_as resize_as_ row_indices_copy
        scalar_tensor select_copy set set_ slice_copy split_copy split_with_sizes_copy
        squeeze_copy t_copy transpose_copy tril_indices triu_indices unbind_copy unfold_copy
        unsafe_split unsafe_split_with_sizes unsqueeze_copy values_copy view_as_complex_copy
        view_as_real_copy view_copy zero zero_ zeros zeros_like block_diag
        """,
    "the results are filled one after the other, from views of the arguments": """
        as_strided_scatter cat constant_pad_nd diag_embed diagonal_backward diagonal_scatter
        flip repeat rot90 roll select_backward select_scatter slice_backward slice_scatter
        stack _stack tril tril_ triu triu_ unfold_backward channel_shuffle native_channel_shuffle
        pixel_shuffle pixel_unshuffle reflection_pad* replication_pad* col2im im2col trace
        bartlett_window blackman_window hamming_window hann_window
        kaiser_window fft_fftfreq fft_rfftfreq
        """,
    "random numbers: one kernel, its state in the generator": """
        bernoulli bernoulli_ binomial cauchy cauchy_ exponential exponential_ geometric geometric_
        log_normal log_normal_ normal_ poisson rand rand_like randint randint_like randn
        randn_like random random_ rrelu_with_noise* uniform uniform_ _standard_gamma*
        _sample_dirichlet _dirichlet_grad _philox_* native_dropout _fused_dropout _masked_scale
        """,
    "elementwise, without torch's tag": """
        _add_relu _conj_physical bitwise_* floor_divide hardswish hardswish_backward
        hardshrink_backward hardsigmoid_backward hardtanh_backward elu_backward glu glu_backward
        glu_jvp glu_backward_jvp leaky_relu_backward log_sigmoid_backward mish_backward
        softplus_backward softshrink_backward _prelu_kernel _prelu_kernel_backward copysign_
        huber_loss_backward mse_loss_backward smooth_l1_loss_backward
        soft_margin_loss_backward binary_cross_entropy_backward
        fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine_cachemask
        _fake_quantize_per_tensor_affine_cachemask_tensor_qparams
        """,
    "one thread or block for each entry that is read or written": """
        _cdist_backward _pdist_backward _pdist_forward bucketize searchsorted embedding
        gather index_add index_copy index_fill index_select linalg_cross masked_fill
        scatter scatter_add take put _unsafe_index unsafe_index index _index_put_impl
        _unsafe_index_put index_put scatter_reduce index_reduce nll_loss_forward
        nll_loss_backward nll_loss2d_forward nll_loss2d_backward cross_entropy_loss
        _embedding_bag_per_sample_weights_backward _local_scalar_dense _linalg_check_errors
        """,
    "pooling and resampling: one thread for each entry of the result": """
        _adaptive_avg_pool* adaptive_avg_pool* adaptive_max_pool* avg_pool* max_pool* max_unpool*
        fractional_max_pool* upsample_* _upsample_* grid_sampler_* _grid_sampler_2d_cpu_fallback*
        """,
    "lists of tensors: one kernel over pieces of all of them": """
        _foreach_* _fused_adam _fused_adamw _fused_sgd _fused_adagrad _amp_*
        """,
    "products: cuBLAS or hipBLASLt, whose workspace is one for each stream and not the call's": """
        _addmm_activation _int_mm _scaled_mm* addbmm addmm addmv addr baddbmm bmm dot
        linear mm mv vdot _weight_int8pack_mm
        """,
    "rows are normalised in registers or shared memory": """
        _log_softmax_backward_data _masked_softmax native_layer_norm
        _native_batch_norm_* batch_norm_*
        """,
    "reads sizes or values, or asserts: makes nothing": """
        _assert_* _functional_assert* _functional_sym_* _has_same_storage_numel _dimI _dimV _nnz
        _print dense_dim sparse_dim is_coalesced is_pinned is_same_size is_set_to qscheme q_*
        record_stream sym_* _use_cudnn_ctc_loss _use_miopen_ctc_loss _fused_sdp_choice
        _nested_get_* _nested_compute_* _is_zerotensor equal is_nonzero item
        """,
}
"""Families of operators whose kernels request nothing beside their results, and why.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/``: ``Loops.cuh``, ``TensorFactories.cu``,
``Shape.cu``, ``DistributionTemplates.h``, ``ScatterGatherKernel.cu``, ``IndexKernel.cu``,
``Indexing.cu``, ``AdaptiveAveragePooling.cu``, ``UpSample*.cu``, ``ForeachFunctors.cuh``,
``Blas.cpp``, ``SoftMax.cu``; ``native/TensorFactories.cpp``, ``TensorShape.cpp``.
"""


@functools.cache
def _names() -> tuple[frozenset[str], tuple[str, ...]]:
    """Whole names, and beginnings of names."""
    words = [word for text in TAKES_NOTHING.values() for word in text.split()]
    beginnings = tuple(word[:-1] for word in words if word.endswith("*"))
    return frozenset(word for word in words if "*" not in word), beginnings


@functools.cache
def takes_nothing(func: OpOverload) -> bool:
    """Whether an operator of torch was looked at and requests nothing beside its results.

    By name: an operator written in place (``add_``) is what it is out of place.
    """
    name = operator(func).family.removeprefix("aten::")
    short = name if name.endswith("__") else name.removesuffix("_")
    names, beginnings = _names()
    listed = name in names or short in names or name.startswith(beginnings)
    return listed or is_view(func) or is_elementwise(name) or is_elementwise(short)
