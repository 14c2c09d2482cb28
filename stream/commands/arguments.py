"""What several commands are asked, and how it is read."""

from __future__ import annotations

import argparse
from pathlib import Path

Commands = argparse._SubParsersAction  # argparse gives this class no public name


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME|FOLDER", help="model that scores faces (default lite0-gru)")
    parser.add_argument("--detector", choices=("centerface", "scrfd", "yunet"), help="face detector")
    parser.add_argument("--detector-weights", type=Path, metavar="FILE.onnx", help="weights for scrfd or yunet")
    parser.add_argument("--threads", type=int, metavar="N", help="threads for inference (default 0: half the cores)")


def add_backend_option(parser: argparse.ArgumentParser) -> None:
    runtimes = "tensorrt, tensorrt-rtx, onnxruntime-cuda, openvino-cpu or onnxruntime-cpu"
    parser.add_argument("--backend", metavar="RUNTIME", help=f"what runs the model: {runtimes} (default: the fastest)")


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return value


def positive_int(text: str) -> int:
    return _whole(text, 1, None, "above 0")


def port(text: str) -> int:
    return _whole(text, 0, 65535, "from 0 to 65535")


def count(text: str) -> int:
    return _whole(text, 0, None, "from 0 up")


def _whole(text: str, least: int, most: int | None, words: str) -> int:
    """argparse would name a function of ours where ``int`` fails."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or (most is not None and value > most):
        raise argparse.ArgumentTypeError(f"{text} is no whole number {words}")
    return value
