"""``unmask train``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from stream.commands.arguments import Commands
from stream.errors import MissingPartError, OutputError, UsageError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "train",
        help="train a model from a recipe",
        description="Train a model from a recipe; a run that was stopped goes on with --resume.",
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="a YAML file, such as one of configs/training")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of deepfake-faces")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for checkpoints, logs and model")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in --out")
    parser.add_argument("--install", action="store_true", help="put the model among your own, under its name")
    parser.add_argument("--start", metavar="WHAT", help="weights to begin with, in place of the recipe's")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )
    parser.add_argument(
        "--scratch", type=Path, default=Path("build/training"), metavar="DIR", help="for decoded pictures"
    )
    parser.add_argument("--force-leaky-split", action="store_true", help="go on though sources lie in two splits")
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    from engines.model_store import own_folder
    from engines.training.errors import TrainingError
    from engines.training.recipe import load_recipe

    logging.getLogger("engines").setLevel(logging.INFO)
    try:
        recipe = load_recipe(options.recipe)
        try:
            from engines.training.run import Run, install
        except ModuleNotFoundError as error:
            raise MissingPartError(f"training needs {error.name}: pip install -e '.[train]'") from None
        recipe = recipe.model_copy(update={"start": options.start} if options.start else {})
        run = Run(recipe, options.data, options.scratch, options.out, options.device, options.force_leaky_split)
        run.train(resume=options.resume)
        if options.install:
            install(run.model_folder, own_folder(recipe.name))
    except TrainingError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or options.out} ({error.strerror or error})") from None
    print(f"model    {own_folder(recipe.name) if options.install else run.model_folder}")
    print(f"use it   unmask watch webcam --model {recipe.name if options.install else run.model_folder}")
    return 0
