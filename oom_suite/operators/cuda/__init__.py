"""What the kernels of torch's CUDA source take inside, on a GPU of NVIDIA's or of AMD's."""
