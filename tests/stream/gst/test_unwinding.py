"""GStreamer and C++ libraries in one process."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch")

PROGRAM = """
import stream.gst.session
import onnxruntime, torch
try:
    torch._C.parse_ir("no graph")
except RuntimeError:
    print("caught")
"""
"""The error is offered to the translators of every library that was built like torch, ONNX Runtime's among them."""


def test_libraries_that_are_loaded_after_gstreamer_fail_in_words_and_do_not_abort() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "caught"), done.stderr[-500:]
