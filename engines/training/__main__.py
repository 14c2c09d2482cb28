"""Train a model from a recipe: ``python -m engines.training configs/training/lite0-gru.yaml --data DIR --out DIR``.

Three stages, each kept in ``--out``: the backbone on stills, windows of pseudo-clips through it, the head on them. The
result is a model folder (checkpoint, graphs, spec) with its calibrations and measured numbers.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from engines.errors import EngineError
from engines.training.recipe import load_recipe
from engines.training.run import Run


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when the model folder is written, 2 with one line when something is missing."""
    parser = argparse.ArgumentParser(prog="python -m engines.training", description=__doc__)
    parser.add_argument("recipe", type=Path, help="a YAML file of configs/training")
    parser.add_argument("--data", type=Path, required=True, help="folder of deepfake-faces: metadata.csv and pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, logs and the model")
    parser.add_argument("--scratch", type=Path, default=Path("build/training"), help="where pictures are kept decoded")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in --out")
    parser.add_argument("--backbone", type=Path, help="skip the first stage: weights of a trained backbone")
    parser.add_argument("--force-leaky-split", action="store_true", help="train though sources lie in two splits")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run = Run(load_recipe(options.recipe), options.data, options.scratch, options.out, options.force_leaky_split)
        run.train(resume=options.resume, backbone=options.backbone)
    except EngineError as error:
        print(f"unmask: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
