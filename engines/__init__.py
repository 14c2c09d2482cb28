"""The tensor side: models, what they promise, and what runs them."""

import os

# ONNX Runtime's wheels record usage under ~/.cache and may send it. A detector pointed at private calls must not, so it
# is switched off before the library is first imported; a user's own setting wins.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
