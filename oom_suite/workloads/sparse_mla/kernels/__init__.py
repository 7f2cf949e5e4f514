"""Kernels for DeepSeek-V4's paged caches: nothing dense is made, and nothing follows the pool.

`gather`   tokens of a cache decoded into rows of bf16: the operations of vLLM #42504 and #42236
`decode`   sparse attention of one decode step from the stored caches, in one pass

Each runs in Triton on a GPU, CUDA or HIP, and in torch elsewhere; `dispatch` chooses, and takes
faster ways for one vendor's devices.
"""
