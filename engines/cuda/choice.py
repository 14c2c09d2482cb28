"""Whether frames are prepared on the GPU: where the backbone reads its memory, and CUDA can be had."""

from __future__ import annotations

import logging

from engines.cuda import pycuda_device
from engines.cuda.ports import device_inference
from engines.cuda.preprocessor import GpuPreprocessor
from engines.errors import EngineError
from engines.runtime.ports import Backend

log = logging.getLogger(__name__)


def preprocessor_for(backbone: Backend) -> GpuPreprocessor | None:
    """The caller's to close; None when crops are better cut on the CPU. A GPU that could but fails is told."""
    if device_inference(backbone) is None:
        return None
    try:
        return GpuPreprocessor(pycuda_device.PycudaDevice())
    except EngineError as error:
        log.warning("faces are cut on the CPU: %s", error)
        return None
