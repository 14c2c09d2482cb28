"""The commands, a module each: ``add`` gives the parser its arguments, and what runs lies beside them.

A command imports what it needs when it runs: ``unmask --help`` must not load GStreamer, ONNX Runtime or torch.
"""
