"""What is said of GStreamer, from facts alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stream.doctor.finding import Finding, Status
from stream.doctor.video import bindings_finding, gst_findings, package_finding
from stream.gst.packages import PACKAGES, GstFacts

WHOLE = GstFacts(
    version="1.22.0",
    parts=frozenset(part for row in PACKAGES for part in row.parts),
    encoder="x264enc",
    h264_decoder="avdec_h264",
    h265_decoder="avdec_h265",
)


def named(findings: list[Finding], what: str) -> Finding:
    return next(finding for finding in findings if finding.what == what)


def test_a_whole_installation_lacks_nothing() -> None:
    assert {finding.status for finding in gst_findings(WHOLE)} == {Status.FOUND}


@pytest.mark.parametrize("row", PACKAGES, ids=lambda row: row.package)
def test_a_package_that_lacks_one_part_is_named_with_its_command(row: object) -> None:
    chosen = next(known for known in PACKAGES if known is row)
    finding = package_finding(chosen, WHOLE.parts - {chosen.parts[0]})
    assert finding.status is (Status.MISSING if chosen.is_needed else Status.ABSENT)
    assert chosen.parts[0] in finding.detail
    assert finding.mend == f"sudo apt install {chosen.package}"


@pytest.mark.parametrize(
    ("facts", "what", "status", "package"),
    [
        (replace(WHOLE, encoder=None), "H.264 encoder", Status.MISSING, "gstreamer1.0-plugins-ugly"),
        (replace(WHOLE, h264_decoder=None), "H.264 decoder", Status.MISSING, "gstreamer1.0-libav"),
        (replace(WHOLE, h265_decoder=None), "H.265 decoder", Status.ABSENT, "gstreamer1.0-libav"),
    ],
)
def test_a_codec_that_is_not_there_names_its_package(facts: GstFacts, what: str, status: Status, package: str) -> None:
    finding = named(gst_findings(facts), what)
    assert finding.status is status
    assert finding.mend == f"sudo apt install {package}"


def test_the_codec_that_is_used_is_named() -> None:
    finding = named(gst_findings(replace(WHOLE, encoder="nvv4l2h264enc")), "H.264 encoder")
    assert finding.detail == "nvv4l2h264enc is used"


def test_bindings_that_are_nowhere_are_installed(tmp_path: Path) -> None:
    finding = bindings_finding(ImportError("No module named 'gi'"), tmp_path / "gi")
    assert finding.status is Status.MISSING
    assert finding.mend.startswith("sudo apt install python3-gi")


def test_bindings_that_the_environment_does_not_see_need_a_repair(tmp_path: Path) -> None:
    finding = bindings_finding(ImportError("No module named 'gi'"), tmp_path)
    assert "does not see" in finding.detail
    assert finding.mend.startswith("make demo")


def test_a_missing_namespace_is_installed_even_where_gi_is_there(tmp_path: Path) -> None:
    finding = bindings_finding(ValueError("Namespace GstApp not available"), tmp_path)
    assert finding.detail == "Namespace GstApp not available"
    assert "gir1.2-gst-plugins-base-1.0" in finding.mend
