from __future__ import annotations

import errno
import hashlib
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.stream.sources.video_parts import ROOT, need_gst, wait_until

need_gst()

from engines.errors import InferenceError  # noqa: E402
from stream.alerts.alert import AlertState  # noqa: E402
from stream.errors import SourceError  # noqa: E402
from stream.evidence import keeper  # noqa: E402
from stream.evidence.folders import MANIFEST, FolderBeingWritten  # noqa: E402
from stream.evidence.keeper import MOST_CASES, MOST_HEATMAPS  # noqa: E402
from stream.evidence.purge import purge  # noqa: E402
from stream.evidence.retention import Limits, Wish  # noqa: E402
from stream.types import Frame  # noqa: E402
from tests.fakes import frame_of  # noqa: E402
from tests.stream.evidence.evidence_parts import (  # noqa: E402
    LEFT,
    LOBBY,
    RIGHT,
    Kept,
    Records,
    alert_of,
    face_of,
    scene_of,
    scorer_of,
)

WITHIN_S = 10.0


def manifest_of(kept: Kept, name: str | None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((kept.root / str(name) / MANIFEST).read_bytes())
    return found


def missing_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    return {one["what"]: one["why"] for one in manifest["missing"]}


def test_a_folder_holds_what_was_seen_and_the_manifest_names_it_all(tmp_path: Path) -> None:
    with Kept(tmp_path, open_scorer=scorer_of()) as kept:
        kept.see(face_of(1), face_of(2, RIGHT))
        name = kept.taken(alert_of())
    manifest, folder = manifest_of(kept, name), tmp_path / str(name)
    assert {file["kind"] for file in manifest["files"]} == {"snapshot", "face", "heatmap", "timeline"}
    for file in manifest["files"]:
        data = (folder / file["name"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
        assert file["bytes"] == len(data)
    assert manifest["alert"]["id"] == alert_of().id
    assert manifest["alert"]["evidence"] == manifest["folder"] == name
    assert manifest["schema"] == 1
    assert manifest["unmask"] == "0"
    assert manifest["clock"]["is_synchronised"] in (True, False, None)
    assert missing_of(manifest) == {"clip": "the stream is not live, or watched no more"}
    assert manifest["heatmap"]["method"] == "occlusion"


def test_a_finished_folder_is_recorded_with_its_manifests_hash(tmp_path: Path) -> None:
    with Kept(tmp_path) as kept:
        kept.see(face_of(1))
        name = str(kept.keeper.take(alert_of()))
    [(kind, entry)] = kept.records
    assert (kind, entry["alert"], entry["folder"]) == ("evidence", alert_of().id, name)
    assert entry["manifest_sha256"] == hashlib.sha256((tmp_path / name / MANIFEST).read_bytes()).hexdigest()


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    with Kept(tmp_path / "new") as kept:
        kept.see(face_of(1))
        name = str(kept.keeper.take(alert_of()))
    for path in (kept.root, kept.root / name, *(kept.root / name).iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_crops_are_those_of_the_alerts_face_and_of_one_window(tmp_path: Path) -> None:
    with Kept(tmp_path) as kept:
        kept.see(face_of(1), seconds=9.0)
        kept.see(face_of(2), seconds=1.0)
        name = str(kept.keeper.take(alert_of(track=2)))
    timeline = json.loads((tmp_path / name / "timeline.json").read_bytes())
    assert [crop["pts_ns"] for crop in timeline["crops"]] == [round(number * 1e8) for number in range(10)]
    first = cv2.imread(str(tmp_path / name / "face-00.jpg"))
    assert np.abs(first.astype(int) - 100).max() <= 2


def test_an_alert_about_no_face_has_neither_crops_nor_a_heat_map(tmp_path: Path) -> None:
    with Kept(tmp_path, open_scorer=scorer_of()) as kept:
        kept.see(face_of(1))
        name = kept.taken(alert_of(track=None))
    missing = missing_of(manifest_of(kept, name))
    assert missing["face"] == missing["heatmap"] == "the alert is not about one face"


def test_an_alert_of_the_whole_service_leaves_nothing(tmp_path: Path) -> None:
    with Kept(tmp_path) as kept:
        assert kept.keeper.take(alert_of(stream="")) is None
    assert kept.names() == []
    assert kept.tally.failures == 0


def test_a_stream_that_never_played_leaves_a_folder_that_says_so(tmp_path: Path) -> None:
    with Kept(tmp_path) as kept:
        name = kept.keeper.take(alert_of(track=None))
    manifest = manifest_of(kept, name)
    assert missing_of(manifest)["snapshot"] == "no picture of this stream was analysed yet"
    assert [file["kind"] for file in manifest["files"]] == ["timeline"]


def test_a_frame_that_cannot_be_read_again_costs_the_snapshot_only(tmp_path: Path) -> None:
    def lost() -> Frame:
        raise SourceError("a decoded frame's memory cannot be read")

    with Kept(tmp_path) as kept:
        kept.keeper.frame_analysed(replace(frame_of(0.0), again=lost), scene_of(face_of(1)))
        name = kept.keeper.take(alert_of())
    assert "snapshot" in missing_of(manifest_of(kept, name))


@pytest.mark.parametrize(("blurs", "count"), [(True, 1), (False, 0)])
def test_faces_that_the_alert_is_not_about_are_blurred_on_wish(tmp_path: Path, blurs: bool, count: int) -> None:
    with Kept(tmp_path, blur_others=blurs) as kept:
        kept.see(face_of(1, LEFT), face_of(2, RIGHT))
        name = str(kept.keeper.take(alert_of()))
    assert manifest_of(kept, name)["snapshot"]["blurred_faces"] == count
    picture = cv2.imread(str(tmp_path / name / "snapshot.jpg"), cv2.IMREAD_GRAYSCALE)
    left, right = (picture[80:140, x : x + 40].std() for x in (40, 220))
    assert (right < left / 2) == blurs


def test_what_became_of_an_alert_until_then_stands_in_the_manifest(tmp_path: Path) -> None:
    with Kept(tmp_path, after_s=30.0) as kept:
        kept.see(face_of(1))
        alert = alert_of()
        name = kept.keeper.take(alert)
        kept.keeper.alert_changed(replace(alert, state=AlertState.RESOLVED, changed_at=alert.began_at + 1))
    told = manifest_of(kept, name)["alert"]
    assert (told["state"], told["changed_at"], told["evidence"]) == ("resolved", alert.began_at + 1, name)


def test_stopping_writes_what_waits(tmp_path: Path) -> None:
    with Kept(tmp_path, after_s=30.0, open_scorer=scorer_of()) as kept:
        kept.see(face_of(1))
        names = [kept.keeper.take(alert_of(number)) for number in range(3)]
        assert kept.names() == []
    assert kept.names() == sorted(map(str, names))
    assert missing_of(manifest_of(kept, names[0]))["heatmap"] == "the program was being stopped"
    assert kept.keeper.take(alert_of(9)) is None


def test_the_timeline_reaches_from_before_to_after(tmp_path: Path) -> None:
    with Kept(tmp_path, after_s=0.4) as kept:
        kept.see(face_of(1))
        name = str(kept.keeper.take(alert_of()))
        kept.keeper.publish(scene_of(face_of(1, probability=0.5), pts_s=5.0))
        wait_until(lambda: kept.names() == [name], "the folder")
    moments = json.loads((tmp_path / name / "timeline.json").read_bytes())["moments"]
    assert [moment["pts_ns"] / 1e9 for moment in moments] == [*(n / 10 for n in range(10)), 5.0]
    assert moments[-1]["faces"] == [
        {
            "track": 1,
            "box": list(LEFT),
            "verdict": "fake",
            "fake_probability": 0.5,
            "reason": None,
            "mask": "1" * 12 + "0" * 8,
        }
    ]


def test_too_many_alerts_at_once_leave_no_more_evidence_and_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Kept(tmp_path, after_s=30.0) as kept:
        names = [kept.keeper.take(alert_of(number)) for number in range(MOST_CASES + 2)]
    assert names[MOST_CASES:] == [None, None]
    assert len(kept.names()) == MOST_CASES
    assert kept.tally.failures == 2
    assert "16 others are still being kept" in caplog.text


def test_alerts_with_one_name_get_folders_of_their_own(tmp_path: Path) -> None:
    alert = alert_of()
    with Kept(tmp_path, after_s=30.0) as kept:
        names = [kept.keeper.take(replace(alert, id=f"{alert.id}{number}")) for number in range(3)]
    assert kept.names() == sorted(map(str, names))
    assert str(names[2]).endswith(".3")


class Slow:
    """A heat map's model that waits."""

    def __init__(self) -> None:
        self.asked, self.go = 0, threading.Event()

    def __call__(self) -> Any:
        self.asked += 1
        self.go.wait(20)
        return nullcontext(scorer_of()().__enter__())


def test_a_queue_of_alerts_is_worth_more_than_heat_maps(tmp_path: Path) -> None:
    slow = Slow()
    with Kept(tmp_path, open_scorer=slow) as kept:
        kept.see(face_of(1))
        names = [kept.keeper.take(alert_of(number)) for number in range(MOST_HEATMAPS + 4)]
        slow.go.set()
        wait_until(lambda: len(kept.names()) == len(names), "all folders")
    lacking = [name for name in names if "heatmap" in missing_of(manifest_of(kept, name))]
    assert 0 < len(lacking) < len(names)
    assert len(lacking) + slow.asked == len(names)


def test_a_model_that_fails_costs_the_heat_map_only(tmp_path: Path) -> None:
    def fail(*_: object) -> Any:
        raise InferenceError("out of memory")

    with Kept(tmp_path, open_scorer=scorer_of(fail)) as kept:
        kept.see(face_of(1))
        name = kept.taken(alert_of())
    assert missing_of(manifest_of(kept, name))["heatmap"] == "out of memory"


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def bug(*_: object) -> None:
    raise ZeroDivisionError("a bug")


@pytest.mark.parametrize(
    ("fault", "words"),
    [(full_disk, "the disk is full: free some space, or lower evidence.keep_bytes"), (bug, "ZeroDivisionError: a bug")],
)
def test_evidence_that_cannot_be_written_is_told_and_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: Any, words: str
) -> None:
    with Kept(tmp_path) as kept:
        kept.see(face_of(1))
        monkeypatch.setattr(FolderBeingWritten, "add", fault)
        kept.keeper.take(alert_of(1))
        wait_until(lambda: kept.tally.failures == 1, "the failure")
        monkeypatch.undo()
        kept.keeper.take(alert_of(2))
    assert words in caplog.text
    assert [path.name.split("-")[-1] for path in tmp_path.iterdir()] == ["00000002"], "and the next one is whole"


def test_what_an_earlier_run_left_half_done_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    for name in (".writing-20260101T000000Z-lobby-1", ".removing-20260101T000000Z-lobby-2", "log", ".mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    with Kept(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine", "log"]


def test_old_evidence_goes_at_the_start_and_is_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "20200101T000000Z-lobby-1").mkdir()
    with Kept(tmp_path) as kept:
        wait_until(lambda: kept.tally.bytes == 0, "the first sweep")
    assert kept.names() == []
    assert [(kind, entry["folder"]) for kind, entry in kept.records] == [("purge", "20200101T000000Z-lobby-1")]
    assert "deleted the evidence of 1 alerts" in caplog.text


@pytest.mark.parametrize("fault", [full_disk, bug])
def test_a_sweep_that_fails_is_told_and_evidence_is_kept_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: Any
) -> None:
    monkeypatch.setattr(keeper, "sweep", fault)
    with Kept(tmp_path) as kept:
        wait_until(lambda: "cannot be deleted" in caplog.text, "word of the failure")
        kept.see(face_of(1))
        kept.keeper.take(alert_of(1))
    assert len(kept.names()) == 1


def test_more_than_may_be_kept_goes_as_soon_as_it_is_written(tmp_path: Path) -> None:
    with Kept(tmp_path, limits=Limits(30, 60_000)) as kept:
        for number in range(6):
            kept.see(face_of(1))
            kept.keeper.take(alert_of(number, age_s=30 - number))
            wait_until(lambda: kept.tally.bytes > 0, "it is counted")
    assert 0 < len(kept.names()) < 6
    assert kept.names()[-1].endswith("00000005")
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert size <= 60_000


def test_a_purge_reaches_what_is_not_written_yet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    purged, told = Records(), list[str]()
    with Kept(tmp_path, after_s=30.0) as kept:
        kept.see(face_of(1))
        names = [kept.keeper.take(alert_of(number)) for number in range(3)]
        told += [folder.name for folder in purge(tmp_path, Wish(alert=alert_of(1).id), time.time(), purged)]
        assert told == [names[1]]
        told += [folder.name for folder in purge(tmp_path, Wish(takes_all=True), time.time(), purged)]
        late = kept.keeper.take(alert_of(4))
    assert sorted(told) == sorted(map(str, names))
    assert [path.name for path in tmp_path.iterdir()] == [late], "what fires later is kept"
    assert [entry["alert"] for _, entry in purged] == [alert_of(number).id for number in (1, 0, 2)]
    assert [entry["folder"] for kind, entry in kept.records] == [late]
    assert kept.tally.failures == 0
    assert caplog.text.count("was purged before it was written") == 3


def test_a_purge_stops_what_is_being_written(tmp_path: Path) -> None:
    is_written, may_go_on = threading.Event(), threading.Event()

    def slowly() -> Any:
        is_written.set()
        assert may_go_on.wait(WITHIN_S)
        return scorer_of()()

    with Kept(tmp_path, open_scorer=slowly) as kept:
        kept.see(face_of(1))
        kept.keeper.take(alert_of())
        assert is_written.wait(WITHIN_S)
        purge(tmp_path, Wish(takes_all=True), time.time(), Records())
        may_go_on.set()
    assert list(tmp_path.iterdir()) == []
    assert (kept.records, kept.tally.failures) == ([], 0)


def test_a_stream_that_is_watched_no_more_is_forgotten(tmp_path: Path) -> None:
    with Kept(tmp_path) as kept:
        kept.keeper.packets(LOBBY, may_be_raw=True)
        kept.see(face_of(1))
        kept.keeper.forget(LOBBY)
        name = kept.keeper.take(alert_of())
    manifest = manifest_of(kept, name)
    assert [file["kind"] for file in manifest["files"]] == ["timeline"]
    assert set(missing_of(manifest)) == {"snapshot", "face", "heatmap", "clip"}


WRITER = """
import sys, threading
from pathlib import Path
from tests.stream.evidence.evidence_parts import Kept, alert_of, face_of

def never() -> None:
    print("writing", flush=True)
    threading.Event().wait()

kept = Kept(Path(sys.argv[1]), open_scorer=never)
kept.see(face_of(1))
kept.keeper.take(alert_of())
threading.Event().wait()
"""


def test_a_process_that_is_killed_while_it_writes_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    root = tmp_path / "kept"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
    finally:
        process.kill()
        process.wait()
    left = [path.name for path in root.iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".writing-")
    with Kept(root) as kept:
        assert kept.names() == []
    assert list(root.iterdir()) == []
