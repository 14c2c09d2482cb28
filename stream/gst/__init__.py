"""GStreamer: the only room that speaks of caps, pads and buses.

GStreamer brings libunwind, which offers the names of the compiler's own unwinder. A C++ library that is loaded
afterwards (ONNX Runtime, OpenVINO, torch; on Ubuntu 22.04 libproxy, which GIO asks before it connects) would bind to
both, and abort or crash at its first exception. So the compiler's comes first, for the whole process.
"""

from __future__ import annotations

import contextlib
import ctypes

with contextlib.suppress(OSError):  # another compiler's system: there it has another name, and no harm is known
    ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)
