"""C++ libraries that come after GStreamer must find the compiler's unwinder, or their exceptions end the process."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

WHO_UNWINDS = """
import ctypes
{first}
ctypes.CDLL("libunwind.so.8", mode=ctypes.RTLD_GLOBAL)  # as a plugin of GStreamer's does

class Info(ctypes.Structure):
    _fields_ = [(n, t) for n, t in zip(("file", "base", "name", "at"), (ctypes.c_char_p, ctypes.c_void_p) * 2)]

everybody, info = ctypes.CDLL(None), Info()
everybody.dladdr(ctypes.cast(everybody._Unwind_RaiseException, ctypes.c_void_p), ctypes.byref(info))
print(info.file.decode())
"""


def who_unwinds(first: str) -> str:
    code = WHO_UNWINDS.format(first=first)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_compilers_unwinder_is_found_before_gstreamers() -> None:
    try:
        ctypes.CDLL("libunwind.so.8")
    except OSError:
        pytest.skip("no libunwind here")
    assert "libunwind" in who_unwinds("")
    assert "libgcc_s" in who_unwinds("import stream.gst")
