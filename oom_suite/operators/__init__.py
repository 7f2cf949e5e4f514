"""What operators take inside their kernels, beside their results."""
