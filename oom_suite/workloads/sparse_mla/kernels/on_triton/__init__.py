"""The kernels, in Triton for CUDA and HIP and in Gluon for Hopper: imported where they run."""
