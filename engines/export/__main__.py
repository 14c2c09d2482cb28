"""Export a checkpoint to the graphs of the live path: ``python -m engines.export CHECKPOINT [--out FOLDER]``.

The spec is read beside the checkpoint; its calibrations and measured numbers belong to these weights and are kept.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engines.catalog import SPEC_FILE
from engines.checkpoints.own import load_checkpoint
from engines.errors import EngineError
from engines.export.package import write_package
from engines.spec import load_spec


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when the folder is written, 2 with one line when something is missing."""
    parser = argparse.ArgumentParser(prog="python -m engines.export", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="a .safetensors file with a spec.json beside it")
    parser.add_argument("--out", type=Path, help="the model folder to write; default: the checkpoint's own")
    options = parser.parse_args(argv)
    checkpoint: Path = options.checkpoint
    try:
        model, spec = load_checkpoint(checkpoint), load_spec(checkpoint.parent / SPEC_FILE)
        written = write_package((options.out or checkpoint.parent).resolve(), spec, model)
    except EngineError as error:
        print(f"unmask: {error}", file=sys.stderr)
        return 2
    print("\n".join(f"{sha256}  {name}" for name, sha256 in written.files.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
