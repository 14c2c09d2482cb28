"""Pixels to tensors on an NVIDIA GPU: the kernels, their compilers, and what feeds them."""
