from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.gst.faults import CORE, END, NO_VIDEO, RESOURCE, STREAM, GstError, fault_from_error
from stream.types import SOURCE_REASONS

WRITE = "Could not open resource for reading and writing."


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (GstError(RESOURCE, 15, "Unauthorized", ""), "unauthorized", "password"),
        (GstError(RESOURCE, 3, "Not found", "Not Found (404)"), "not_found", "404"),
        (GstError(RESOURCE, 3, "Cannot identify device", "", "v4l2src"), "not_found", "plug a camera in"),
        (GstError(RESOURCE, 4, "Device '/dev/video0' is busy", ""), "error", "another program"),
        (GstError(RESOURCE, 7, WRITE, "Failed to connect. (Generic error)", "rtspsrc"), "refused", "host and port"),
        (GstError(RESOURCE, 7, WRITE, "Failed to connect. (Timeout while…, timed out)"), "timeout", "in time"),
        (GstError(RESOURCE, 5, "Could not read", "Forbidden (403)"), "unauthorized", "password"),
        (
            GstError(RESOURCE, 5, "Could not open resource.", "No supported authentication protocol was found"),
            "unauthorized",
            "password",
        ),
        (
            GstError(STREAM, 1, "Internal data stream error.", "streaming\nstopped, reason error (-5)", "souphttpsrc"),
            "refused",
            "host",
        ),
        (GstError(STREAM, 4, "Could not determine type of stream.", ""), "error", "not a video"),
        (GstError(STREAM, 5, "This appears to be a text file", ""), "error", "not a video"),
        (GstError(STREAM, 6, "Your GStreamer installation is missing a plug-in.", ""), "error", "apt install"),
        (GstError(CORE, 12, "No decoder available", ""), "error", "apt install"),
        (GstError(STREAM, 9, "This file contains no playable streams.", ""), "error", "cut off"),
        (GstError(STREAM, 7, "Broken bit stream.", ""), "error", "Broken bit stream"),
    ],
)
def test_an_error_is_told_by_its_reason_and_what_to_do(error: GstError, reason: str, words: str) -> None:
    fault = fault_from_error(error)
    assert fault.reason == reason
    assert words in fault.advice


def test_a_name_in_quotes_tells_nothing_about_the_reason() -> None:
    error = GstError(STREAM, 7, "Broken bit stream.", 'in "/tmp/timed out/connection refused (401).mp4"')
    assert fault_from_error(error).reason == "error"


@settings(deadline=None)
@given(
    st.sampled_from([RESOURCE, STREAM, CORE, "other"]),
    st.integers(0, 20),
    st.sampled_from(["rtsp://u:Zq7@host/x", "http://h/x?t=Zq7", "/home/Zq7/a.mp4", "u:Zq7@h", "'Zq7'", '"Zq7"']),
    st.text(),
)
def test_any_error_becomes_one_line_without_addresses(domain: str, code: int, secret: str, text: str) -> None:
    text = text.replace("'", "").replace('"', "")
    fault = fault_from_error(GstError(domain, code, f"{text} {secret} {text}", f"{secret} {text}"))
    assert fault.reason in SOURCE_REASONS
    assert "\n" not in fault.advice
    assert "Zq7" not in fault.advice


def test_the_end_and_a_missing_picture_have_known_reasons() -> None:
    assert {END.reason, NO_VIDEO.reason} <= set(SOURCE_REASONS)
