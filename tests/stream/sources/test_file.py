from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from tests.stream.sources.video_parts import Tap, clip, encoded, need_gst, play, sample_of, turned, wait_until

need_gst()

from stream.errors import SourceError  # noqa: E402
from stream.sources.file import FileSource, check_file  # noqa: E402
from stream.sources.open import open_source  # noqa: E402
from stream.sources.uri import parse_source  # noqa: E402
from stream.types import Frame, StreamName, StreamState  # noqa: E402
from tests.fakes import ListObserver  # noqa: E402

NAME = StreamName("clip")


def opened(path: Path, observer: ListObserver | None = None, tap: Tap | None = None) -> FileSource:
    source = open_source(NAME, parse_source(str(path)), observer=observer or ListObserver(), video=tap)
    assert isinstance(source, FileSource)
    return source


def frames_of(source: FileSource) -> list[Frame]:
    """Every frame, released; only their facts may be looked at. Closes the source."""
    frames = []
    try:
        while source.state not in (StreamState.ENDED, StreamState.FAILED):
            frame = source.read(0.2)
            if frame is not None:
                frame.release()
                frames.append(frame)
    finally:
        source.close()
    return frames


def test_a_file_gives_every_frame_in_order_and_ends(tmp_path: Path) -> None:
    observer, tap = ListObserver(), Tap()
    source = opened(clip(tmp_path / "a.mp4", frames=45), observer, tap)
    frames = frames_of(source)
    assert [round(frame.pts_ns * 30 / 1e9) for frame in frames] == list(range(45))
    assert {(frame.segment, frame.stream) for frame in frames} == {(0, NAME)}
    assert len(observer.of("frame_arrived")) == len(tap.seen) == 45
    assert observer.of("frame_dropped") == []
    states = [state for _, state in observer.of("stream_state")]
    assert states == [StreamState.CONNECTING, StreamState.PLAYING, StreamState.ENDED]
    assert source.read(0.0) is None


def test_a_file_tells_its_length_size_rate_and_decoder(tmp_path: Path) -> None:
    observer = ListObserver()
    source = opened(clip(tmp_path / "a.mp4", frames=50, width=176, height=144, rate=25), observer)
    frames_of(source)
    assert source.duration_s == pytest.approx(2.0, abs=0.1)
    assert source.size_wh == (176, 144)
    assert source.decoder != "none (raw video)"
    assert source.warning is None
    assert observer.of("source_fps")[0][1] == pytest.approx(25.0, abs=0.5)
    assert {stage for _, stage, _ in observer.of("stage_took")} == {"decode"}


def test_the_reader_is_waited_for(tmp_path: Path) -> None:
    """The decoder stands still between reads: nothing is lost to a slow reader."""
    source = opened(clip(tmp_path / "a.mp4", frames=30))
    wait_until(lambda: (frame := source.read(0.1)) is not None and (frame.release() or True), "a first frame")
    for _ in range(20):
        source._session.fault()  # the bus is looked at, nothing is taken
    assert len(frames_of(source)) == 29


def test_the_video_gets_a_frame_when_its_reader_has_released_it(tmp_path: Path) -> None:
    tap = Tap()
    source = opened(clip(tmp_path / "a.mp4", frames=3), tap=tap)
    frame = None
    while frame is None:
        frame = source.read(0.2)
    assert tap.seen == []
    frame.release()
    assert len(tap.seen) == 1
    frame.release()
    assert len(tap.seen) == 1
    source.close()


def test_on_frame_tells_that_there_is_something_to_read(tmp_path: Path) -> None:
    told: list[int] = []
    uri = parse_source(str(clip(tmp_path / "a.mp4", frames=5)))
    source = open_source(NAME, uri, observer=ListObserver(), on_frame=lambda: told.append(1))
    wait_until(lambda: told, "word of a frame")
    source.close()


@pytest.mark.parametrize("size_wh", [(854, 480), (16, 16), (320, 98)])
def test_unusual_sizes_arrive_whole(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    frames = frames_of(opened(clip(tmp_path / "a.mp4", frames=2, width=size_wh[0], height=size_wh[1])))
    assert [(frame.planes.width, frame.planes.height) for frame in frames] == [size_wh] * 2


@pytest.mark.parametrize("size_wh", [(855, 481), (3840, 2160), (15, 17)])
def test_odd_and_huge_raw_pictures_arrive_whole(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    path = tmp_path / "a.mkv"
    width, height = size_wh
    play(
        f"videotestsrc num-buffers=2 ! video/x-raw,format=I420,width={width},height={height} "
        f"! jpegenc ! matroskamux ! filesink location={path}"
    )
    frames = frames_of(opened(path))
    assert [(frame.planes.width, frame.planes.height) for frame in frames] == [size_wh] * 2
    assert frames[0].planes.chroma[0].shape[:2] == ((height + 1) // 2, (width + 1) // 2)


def test_a_phone_clip_is_shown_upright(tmp_path: Path) -> None:
    path = turned(clip(tmp_path / "a.mp4", frames=4, width=160, height=120))
    sizes = {(frame.planes.width, frame.planes.height) for frame in frames_of(opened(path))}
    assert sizes == {(120, 160)}


def test_a_file_with_sound_gives_its_pictures(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    sound = "audiotestsrc num-buffers=40 ! avenc_aac ! mux."
    play(f"{sound} {encoded(20, 160, 120)} ! mp4mux name=mux ! filesink location={path}")
    assert len(frames_of(opened(path))) == 20


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    parts = [_part(tmp_path / "fast.mkv", 10, 30), _part(tmp_path / "slow.mkv", 10, 5)]
    play(
        "concat name=all ! capssetter caps=video/x-raw,framerate=0/1 ! jpegenc ! matroskamux "
        f"! filesink location={path} "
        + " ".join(f"filesrc location={part} ! matroskademux ! jpegdec ! all." for part in parts)
    )
    times = [frame.pts_ns / 1e9 for frame in frames_of(opened(path))]
    steps = [after - before for before, after in itertools.pairwise(times)]
    assert len(times) == 20
    assert sorted(steps)[len(steps) // 4] == pytest.approx(1 / 30, abs=0.01)
    assert sorted(steps)[-len(steps) // 4] == pytest.approx(1 / 5, abs=0.01)


def _part(path: Path, frames: int, rate: int) -> Path:
    raw = f"video/x-raw,format=I420,width=160,height=120,framerate={rate}/1"
    play(f"videotestsrc num-buffers={frames} ! {raw} ! jpegenc ! matroskamux ! filesink location={path}")
    return path


def test_a_change_of_size_begins_a_new_segment(tmp_path: Path) -> None:
    """Two H.264 streams one after the other: what a camera does that switches its resolution."""
    path, observer, tap = tmp_path / "a.h264", ListObserver(), Tap()
    for size_wh in ((160, 120), (320, 240)):
        part = tmp_path / f"{size_wh[0]}.h264"
        play(f"{encoded(10, *size_wh)} ! video/x-h264,stream-format=byte-stream ! filesink location={part}")
        path.write_bytes((path.read_bytes() if path.exists() else b"") + part.read_bytes())
    frames = frames_of(opened(path, observer, tap))
    assert {(frame.segment, frame.planes.width) for frame in frames} == {(0, 160), (1, 320)}
    assert set(tap.seen) == {(0, 160, 120), (1, 320, 240)}
    assert observer.of("reconnected") == [(NAME, "caps_change")]


@pytest.mark.parametrize("address", ["cam:554/user=a&password=Hunter2Zx&channel=1", "root:Hunter2Zx@cam/x"])
def test_an_address_that_was_taken_for_a_file_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(SourceError, match=r"no file at .*cam") as caught:
        check_file(Path(address))
    assert "Hunter2Zx" not in str(caught.value)


def test_an_absent_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file at .*absent\.mp4") as caught:
        opened(tmp_path / "absent.mp4")
    assert caught.value.reason == "not_found"


def test_a_folder_is_not_a_video(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a folder"):
        opened(tmp_path)


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "zero.mp4").touch()
    with pytest.raises(SourceError, match="empty"):
        opened(tmp_path / "zero.mp4")


def test_a_pipe_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(SourceError, match="not a file"):
        opened(tmp_path / "pipe.mp4")


def _text(path: Path) -> None:
    path.write_text("this is not a video\n" * 50)


def _noise(path: Path) -> None:
    path.write_bytes(os.urandom(6000))


def _index_missing(path: Path) -> None:
    clip(path, frames=40)
    path.write_bytes(path.read_bytes()[:4000])


def _sound_only(path: Path) -> None:
    play(f"audiotestsrc num-buffers=40 ! avenc_aac ! mp4mux ! filesink location={path}")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_text, "is not a video"),
        (_noise, "is not a video"),
        (_index_missing, "cut off"),
        (_sound_only, "has no video"),
    ],
)
def test_what_is_no_video_fails_with_one_clear_line(tmp_path: Path, make: object, words: str) -> None:
    path, observer = tmp_path / "bad.mp4", ListObserver()
    make(path)  # type: ignore[operator]  # a table of functions
    source = opened(path, observer)
    with pytest.raises(SourceError, match=words) as caught:
        frames_of(source)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert observer.of("stream_state")[-1] == (NAME, StreamState.FAILED)
    assert source.read(0.0) is None


class SilentSession:
    """A pipeline that neither plays nor fails, after the frames it is given."""

    decoder = "scripted"
    duration_s = None
    is_drained = False

    def __init__(self, *samples: object) -> None:
        self._samples = list(samples)

    def start(self) -> None: ...

    def pull(self, timeout_s: float) -> object:  # noqa: ARG002 - the protocol's signature
        return self._samples.pop(0) if self._samples else None

    def fault(self) -> None: ...

    def stop(self) -> None: ...


def silent(clip_path: Path, now_s: list[float], *samples: object) -> FileSource:
    """Watched by a clock that the test turns, with a patience of 60 s."""
    return FileSource(
        NAME,
        parse_source(str(clip_path)),
        lambda *_: SilentSession(*samples),
        observer=ListObserver(),
        clock=lambda: round(now_s[0] * 1e9),
        stalled_after_s=60.0,
    )


def test_a_pipeline_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    _text(tmp_path / "a.mp4")
    now_s = [0.0]
    source = silent(tmp_path / "a.mp4", now_s)
    now_s[0] = 100.0  # nobody asked for a frame: the file is not to blame
    for now_s[0] in (100.0, 160.0):
        assert source.read(0.0) is None
    now_s[0] = 160.1
    with pytest.raises(SourceError, match="no picture and no error") as caught:
        source.read(0.0)
    assert caught.value.reason == "stalled"
    assert source.state is StreamState.FAILED


def test_a_file_that_falls_silent_keeps_what_it_gave(tmp_path: Path) -> None:
    _text(tmp_path / "a.mp4")
    now_s = [0.0]
    source = silent(tmp_path / "a.mp4", now_s, None, sample_of(0))
    assert source.read(0.0) is None
    now_s[0] = 59.0
    frame = source.read(0.0)
    assert frame is not None
    frame.release()
    for now_s[0] in (70.0, 130.0, 130.1):  # counted anew since the frame
        assert source.state is StreamState.PLAYING
        assert source.read(0.0) is None
    assert source.state is StreamState.ENDED
    assert "stops at 0.0 s" in (source.warning or "")


def test_a_cut_off_file_plays_what_is_there_and_says_how_far(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp4"
    play(f"{encoded(120, 160, 120)} ! mp4mux faststart=true ! filesink location={whole}")
    cut = tmp_path / "cut.mp4"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    source = opened(cut)
    frames = frames_of(source)
    assert 20 < len(frames) < 110
    assert source.state is StreamState.ENDED
    assert source.warning is not None
    assert "of 4.0 s" in source.warning


def test_closing_in_the_middle_is_the_end(tmp_path: Path) -> None:
    source = opened(clip(tmp_path / "a.mp4"))
    source.close()
    source.close()
    assert source.state is StreamState.ENDED
    assert source.read(0.0) is None
