"""What a detector that is pointed at private calls must not do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.engines.graphs import write_model


def test_loading_a_model_leaves_no_usage_records_at_home(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    home = tmp_path / "home"
    home.mkdir()
    code = f"from engines.catalog import open_model; open_model({str(tmp_path / 'model')!r}).close()"
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment.update(HOME=str(home), XDG_CACHE_HOME=str(home / ".cache"))
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True, timeout=60)
    assert not list(home.rglob("*onnxruntime*"))
