"""GStreamer: the only room that speaks of caps, pads and buses."""

import contextlib
import ctypes

# GStreamer's plugins bring libunwind into everybody's scope, whose _Unwind_* functions are not those that C++ libraries
# were built with: the first exception that OpenVINO threw after them, at the end of a loop, aborted the process. Who is
# loaded globally first is found first, so the compiler's own library goes before.
with contextlib.suppress(OSError):  # another system names it otherwise, and has no such quarrel
    ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)
