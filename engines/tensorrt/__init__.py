"""NVIDIA TensorRT and TensorRT for RTX: the driver's probe, builds in a process of their own, and running engines."""
