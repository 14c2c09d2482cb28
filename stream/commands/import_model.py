"""``unmask import``."""

from __future__ import annotations

import argparse
from pathlib import Path

from stream.commands.arguments import Commands


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "import",
        help="bring a Keras or PyTorch model",
        description="Turn a Keras or PyTorch checkpoint into a model of this program; nothing in the file is executed.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help=".keras, .h5, .pth, .pt, .p, .pkl or .safetensors")
    parser.add_argument(
        "--as", dest="name", required=True, metavar="NAME", help="which model it is (docs/importing.md)"
    )
    parser.add_argument("--backbone", type=Path, metavar="FILE2", help="the image network, where FILE is a video head")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write (default: among your own models)")
    parser.add_argument("--positive", choices=("fake", "real"), help="what a high score means (default: as its origin)")
    parser.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> int:
    from engines.importing import import_model

    done = import_model(
        options.file, options.name, backbone=options.backbone, out=options.out, positive=options.positive
    )
    for line in done.recognised:
        print(f"recognised  {line}")
    print(f"parameters  {done.parameters:,}")
    for what, line in done.facts.items():
        print(f"{what:<11} {line}")
    print(f"written     {done.folder}")
    print(f"use         {done.advice}")
    return 0
