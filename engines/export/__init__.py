"""Trained networks to the files the live path reads: two ONNX graphs and a spec."""
