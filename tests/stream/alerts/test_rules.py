"""What each rule sees, and the life of what it makes: examples first, then laws over anything that can happen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.alerts.alert import Alert, AlertKind, AlertState, Severity
from stream.alerts.rule_book import MOST_ALIVE, RuleBook
from stream.alerts.rules import FakeHeld, NoFace, ProbabilityAbove, Rule, StreamDown
from stream.types import FaceScore, Scene, StreamName, StreamState, Verdict
from tests.stream.alerts.alert_parts import CAM, PLAYING, SECOND, book_of, face_of, now_at, scene_at, states_of

FAKE = FakeHeld(name="fake", severity=Severity.CRITICAL, for_s=3, cool_down_s=60, resolve_after_s=5)
LIKELY = ProbabilityAbove(name="likely", above=0.8, windows=3, of=5, cool_down_s=0, resolve_after_s=1)
EMPTY = NoFace(name="empty", for_s=10, resolve_after_s=0)
DOWN = StreamDown(name="down", for_s=15, resolve_after_s=2)


def play(book: RuleBook, scenes: Sequence[Scene]) -> list[Alert]:
    """Scenes as they come live: media time and the clock go together."""
    return [alert for scene in scenes for alert in book.scene(scene, now_at(scene.pts_ns / SECOND))]


# Verdict held


def test_a_face_that_stays_fake_fires_once_when_the_time_is_up() -> None:
    (alert,) = play(book_of(FAKE), [scene_at(at / 10, face_of(7)) for at in range(100)])
    assert (alert.kind, alert.state, alert.rule) == (AlertKind.FAKE, AlertState.FIRING, "fake")
    assert (alert.stream, alert.track_id, alert.severity) == (CAM, 7, Severity.CRITICAL)
    assert alert.began_at == alert.changed_at == now_at(3).wall_s
    assert (alert.fake_probability, alert.model, alert.backend) == (0.9, "lite0-gru", "onnxruntime-cpu")
    assert alert.message == "face 7 on door has been fake for 3 s"


OTHERWISE = [face_of(1, Verdict.REAL), face_of(1, Verdict.UNSURE), None]


def with_a_break(between: FaceScore | None, break_s: float) -> list[Scene]:
    """Fake for 2.4 s, not so for ``break_s``, and fake for 2.4 s."""
    faces = [face_of(1)] * 25 + [between] * (round(break_s * 10) - 1) + [face_of(1)] * 25
    return [scene_at(at / 10, *([face] if face else [])) for at, face in enumerate(faces)]


@pytest.mark.parametrize("between", OTHERWISE)
def test_a_short_break_is_not_counted_and_takes_nothing_away(between: FaceScore | None) -> None:
    (alert,) = play(book_of(FAKE), with_a_break(between, break_s=5))
    assert alert.began_at == pytest.approx(now_at(2.4 + 5 + 0.6).wall_s)
    assert alert.message == "face 1 on door is fake, as faces there have been for 3 s in all"


@pytest.mark.parametrize("between", OTHERWISE)
def test_a_long_break_starts_the_count_afresh(between: FaceScore | None) -> None:
    assert not play(book_of(FAKE), with_a_break(between, break_s=5.1))
    assert not play(book_of(replace(FAKE, resolve_after_s=0)), with_a_break(between, break_s=0.2))


def coming_and_going(seen_s: float, away_s: float, times: int, **faces: float) -> list[Scene]:
    """A face that leaves the view before the rule fires, and comes back under another number."""
    seen, away = round(seen_s * 10), round(away_s * 10)
    shown = [face for n in range(times) for face in [face_of(n, **faces)] * seen + [None] * away]  # type: ignore[arg-type]
    return [scene_at(at / 10, *([replace_scored(face, at)] if face else [])) for at, face in enumerate(shown)]


def replace_scored(face: FaceScore, at: int) -> FaceScore:
    """Of a window each second."""
    return replace(face, scored_pts_ns=at // 10 * SECOND)


@pytest.mark.parametrize(("seen_s", "away_s"), [(2.5, 1.5), (1.0, 4.0), (0.5, 0.0), (2.9, 4.9)])
def test_a_face_that_leaves_the_view_in_time_and_comes_back_does_not_escape(seen_s: float, away_s: float) -> None:
    alerts = play(book_of(FAKE), coming_and_going(seen_s, away_s, times=8))
    assert len(alerts) == 1
    assert "is fake, as faces there have been for 3 s in all" in alerts[0].message


def test_each_second_that_was_fake_makes_one_alert_at_most() -> None:
    alerts = play(book_of(replace(FAKE, cool_down_s=0)), coming_and_going(1.1, 1, times=12))
    assert [alert.track_id for alert in alerts] == [2, 5, 8, 11]


def test_a_face_is_not_blamed_for_the_time_of_one_that_has_fired() -> None:
    book = book_of(replace(FAKE, cool_down_s=0))
    alone, both = (
        [scene_at(at / 10, *faces) for at in ats]
        for faces, ats in (
            ([face_of(1)], range(80)),
            ([face_of(1), face_of(2)], range(80, 110)),
        )
    )
    assert [alert.track_id for alert in play(book, alone)] == [1]
    assert not play(book, both)
    (alert,) = play(book, [scene_at(11, face_of(2))])
    assert (alert.track_id, alert.message) == (2, "face 2 on door has been fake for 3 s")


def test_of_two_faces_one_alone_fires_for_the_time_of_others() -> None:
    book = book_of(replace(FAKE, cool_down_s=0))
    play(book, [scene_at(at / 10, face_of(1)) for at in range(29)])
    fired = play(book, [scene_at(2.9 + at / 10, face_of(2), face_of(3)) for at in range(20)])
    assert [alert.track_id for alert in fired] == [2]


def test_a_new_segment_starts_the_count_afresh() -> None:
    book = book_of(FAKE)
    assert not play(book, [scene_at(10 + at / 10, face_of()) for at in range(25)])
    assert not play(book, [scene_at(at, face_of()) for at in range(3)])
    assert states_of(play(book, [scene_at(3, face_of())])) == ["a1 firing"]


def test_a_lost_stream_starts_the_count_afresh_though_it_shows_its_last_word() -> None:
    before, after = ([scene_at(start + at / 10, face_of()) for at in range(25)] for start in (0, 2.6))
    lost = scene_at(2.5, face_of(), state=StreamState.RECONNECTING)
    assert not play(book_of(FAKE), [*before, lost, *after])


def test_media_time_counts_and_not_how_fast_a_file_is_read() -> None:
    book = book_of(FAKE)
    assert [book.scene(scene_at(at, face_of()), now_at(0.001 * at)) != [] for at in range(5)] == [0, 0, 0, 1, 0]
    slow = book_of(FAKE)
    assert not [alert for at in range(5) for alert in slow.scene(scene_at(0.1 * at, face_of()), now_at(100 * at))]


# Probability in windows


def test_so_many_of_the_last_windows_above_the_limit_fire() -> None:
    values = [0.9, 0.1, 0.9, 0.1, 0.1, 0.9, 0.9, 0.9]
    book = book_of(LIKELY)
    fired = [bool(play(book, [scene_at(at, face_of(probability=p, scored_s=at))])) for at, p in enumerate(values)]
    assert fired == [False] * 6 + [True, False]


def test_a_window_counts_once_however_often_its_score_is_shown() -> None:
    book = book_of(LIKELY)
    assert not play(book, [scene_at(at / 10, face_of(scored_s=at // 10)) for at in range(20)])
    (alert,) = play(book, [scene_at(2, face_of(scored_s=2))])
    assert alert.message == "face 1 on door was more than 0.8 likely fake in 3 of 5 windows"


def test_a_probability_at_the_limit_is_not_above_it() -> None:
    assert not play(book_of(LIKELY), [scene_at(at, face_of(probability=0.8, scored_s=at)) for at in range(9)])


TWO = [scene_at(at, face_of(scored_s=at)) for at in range(2)]


def test_windows_of_another_segment_or_of_a_face_beside_it_are_not_counted_with() -> None:
    assert not play(book_of(LIKELY), [*TWO, scene_at(0, face_of(scored_s=0)), scene_at(1, face_of(scored_s=1))])
    pair = [scene_at(at, face_of(1, scored_s=at), face_of(2, scored_s=at)) for at in range(2)]
    assert not play(book_of(LIKELY), pair)


def test_windows_of_a_face_that_left_just_before_are_counted_with() -> None:
    (alert,) = play(book_of(LIKELY), [*TWO, scene_at(1.5), scene_at(2, face_of(2, scored_s=2))])
    assert alert.message == "face 2 on door and one before it were more than 0.8 likely fake in 3 of 5 windows"
    assert not play(book_of(LIKELY), [*TWO, scene_at(1.5), scene_at(2.6), scene_at(3, face_of(2, scored_s=2))])


def test_a_face_that_leaves_the_view_before_its_windows_are_enough_does_not_escape() -> None:
    rule = replace(LIKELY, cool_down_s=60, resolve_after_s=5)
    assert len(play(book_of(rule), coming_and_going(1.5, 3, times=5))) == 1


def test_a_harmless_face_does_not_take_the_place_of_one_that_left_before_it() -> None:
    rule = replace(LIKELY, resolve_after_s=5)
    real = [scene_at(at, face_of(2, probability=0.1, scored_s=at)) for at in (2, 3, 4)]
    (alert,) = play(book_of(rule), [*TWO, *real, scene_at(5), scene_at(6, face_of(3, scored_s=6))])
    assert alert.track_id == 3


def test_a_face_without_a_window_above_the_limit_is_not_blamed_for_one_that_left() -> None:
    book = book_of(replace(LIKELY, resolve_after_s=5, cool_down_s=60))
    book._fired_ns["likely", CAM] = now_at(-56).mono_ns  # it cools down until face 1 has left
    assert not play(book, [scene_at(at, face_of(1, scored_s=at)) for at in range(4)])
    assert not play(book, [scene_at(at, face_of(2, probability=0.1, scored_s=at)) for at in range(4, 7)])
    assert [alert.track_id for alert in play(book, [scene_at(7, face_of(3, scored_s=7))])] == [3]


def test_what_left_before_makes_one_alert_and_not_two() -> None:
    pair = [scene_at(at, face_of(2, scored_s=at), face_of(3, scored_s=at)) for at in (2, 3)]
    alerts = play(book_of(LIKELY), [*TWO, *pair])
    assert [alert.track_id for alert in alerts] == [2]


# Nobody there, and nothing there


def test_a_stream_that_plays_without_a_face_fires_and_a_face_resolves_it() -> None:
    book = book_of(EMPTY)
    assert states_of(play(book, [scene_at(at) for at in range(15)])) == ["a1 firing"]
    assert not book.tick(PLAYING, now_at(15))
    play(book, [scene_at(15, face_of(verdict=Verdict.REAL))])
    (over,) = book.tick(PLAYING, now_at(15.2))
    assert over.message == "over after 5 s: door had shown no face for 10 s"


def test_a_stream_that_is_down_does_not_count_as_empty() -> None:
    down = [scene_at(0, state=StreamState.RECONNECTING)] * 30
    assert not play(book_of(EMPTY), [*(scene_at(at) for at in range(8)), *down, *(scene_at(at) for at in range(8))])


@pytest.mark.parametrize("state", [StreamState.CONNECTING, StreamState.RECONNECTING, StreamState.FAILED])
def test_a_stream_that_does_not_play_fires_and_playing_resolves_it(state: StreamState) -> None:
    book = book_of(DOWN)
    told = [alert for at in range(40) for alert in book.tick({CAM: state}, now_at(at / 2))]
    assert states_of(told) == ["a1 firing"]
    assert told[0].message == f"door has not played for 15 s ({state.value})"
    assert [len(book.tick(PLAYING, now_at(at))) for at in (20, 21, 22, 23)] == [0, 0, 1, 0]


@pytest.mark.parametrize("state", [StreamState.PLAYING, StreamState.ENDED])
def test_a_stream_that_plays_or_is_over_is_not_down(state: StreamState) -> None:
    book = book_of(DOWN)
    assert not [alert for at in range(100) for alert in book.tick({CAM: state}, now_at(at))]


# The life of an alert


def test_what_comes_back_soon_has_not_been_over() -> None:
    book = book_of(FAKE)
    play(book, [scene_at(at, face_of()) for at in range(4)])
    play(book, [scene_at(4, face_of(verdict=Verdict.UNSURE))])
    assert not book.tick(PLAYING, now_at(8))
    play(book, [scene_at(8.5, face_of())])
    assert not book.tick(PLAYING, now_at(20))


def test_a_face_that_left_resolves_its_alert() -> None:
    book = book_of(FAKE)
    play(book, [scene_at(at, face_of()) for at in range(4)])
    play(book, [scene_at(4)])
    assert not book.tick(PLAYING, now_at(8.9))
    (over,) = book.tick(PLAYING, now_at(9))
    assert (over.id, over.state, over.changed_at) == ("a1", AlertState.RESOLVED, now_at(9).wall_s)
    assert over.began_at == now_at(3).wall_s


def test_another_face_waits_for_the_cool_down_and_fires_then_if_it_is_still_so() -> None:
    book = book_of(FAKE)
    alerts = play(book, [scene_at(at / 2, face_of(1), face_of(2)) for at in range(200)])
    assert [(alert.track_id, alert.began_at - now_at(0).wall_s) for alert in alerts] == [(1, 3.0), (2, 63.0)]


def test_without_a_cool_down_each_face_fires_by_itself() -> None:
    book = book_of(replace(FAKE, cool_down_s=0))
    alerts = play(book, [scene_at(at / 2, face_of(1), face_of(2)) for at in range(20)])
    assert [alert.track_id for alert in alerts] == [1, 2]


def test_streams_are_kept_apart_and_chosen_by_name_or_glob() -> None:
    book = book_of(replace(DOWN, streams=("gate-*", "door")))
    states = {StreamName(name): StreamState.FAILED for name in ("door", "gate-1", "gate-2", "doorway", "yard")}
    fired = [alert.stream for at in range(20) for alert in book.tick(states, now_at(at))]
    assert fired == ["door", "gate-1", "gate-2"]


def test_a_stream_that_is_watched_no_more_resolves_at_once() -> None:
    book = book_of(DOWN, FAKE)
    for at in range(16):
        book.tick({CAM: StreamState.FAILED}, now_at(at))
    (over,) = book.tick({}, now_at(16))
    assert over.message == "no longer watched, after 1 s: door had not played for 15 s (failed)"
    play(book, [scene_at(at, face_of()) for at in range(20, 30)])
    assert states_of(book.scene(replace(scene_at(30), is_last=True), now_at(30))) == ["a2 resolved"]


def test_a_stream_that_is_taken_out_and_back_does_not_escape_its_cool_down() -> None:
    book = book_of(FAKE)
    play(book, [scene_at(at, face_of(1)) for at in range(4)])
    book.tick({}, now_at(4))
    assert not play(book, [scene_at(at, face_of(2)) for at in range(5, 60)])
    book.tick({}, now_at(63))
    assert book._fired_ns == {}


def test_the_end_resolves_what_is_alive_and_says_so() -> None:
    book = book_of(FAKE)
    play(book, [scene_at(at, face_of()) for at in range(4)])
    (over,) = book.end(now_at(10))
    assert over.message.startswith("still so when the watch ended, after 7 s: ")
    assert book.end(now_at(11)) == []


def test_ten_thousand_faces_leave_nothing_behind() -> None:
    book = book_of(replace(FAKE, cool_down_s=0, for_s=0), LIKELY)
    for number in range(10_000):
        book.scene(scene_at(number, face_of(number, scored_s=number)), now_at(number))
        book.tick(PLAYING, now_at(number))
    (watches,) = book._watches.values()
    assert [len(watch.alive) <= 6 for watch in watches] == [True, True]
    assert all(len(vars(watch.count).get(held, ())) <= 1 for watch in watches for held in ("since_ns", "windows"))
    assert len(vars(watches[0].count)["spent_ns"]) <= 6


def test_alerts_that_never_resolve_are_bounded_too() -> None:
    book = book_of(replace(FAKE, cool_down_s=0, for_s=0, resolve_after_s=1e9))
    fired = [alert for at in range(500) for alert in book.scene(scene_at(at, face_of(at)), now_at(at))]
    assert len(fired) == MOST_ALIVE


# Laws


@dataclass(frozen=True)
class Step:
    """Something that happens to one stream."""

    passed_s: float
    faces: tuple[tuple[int, Verdict, float], ...] | None
    """None: a tick."""
    state: StreamState
    has_jumped: bool


STREAMS = (StreamName("door"), StreamName("yard"))
faces = st.tuples(st.integers(1, 4), st.sampled_from(Verdict), st.sampled_from([0.1, 0.5, 0.9]))
steps = st.builds(
    Step,
    st.sampled_from([0.05, 0.2, 1.0, 4.0]),
    st.none() | st.lists(faces, max_size=3, unique_by=lambda face: face[0]).map(tuple),
    st.sampled_from([StreamState.PLAYING] * 4 + [StreamState.RECONNECTING, StreamState.ENDED]),
    st.sampled_from([False] * 9 + [True]),
)
seconds = st.sampled_from([0.0, 0.5, 2.0, 10.0])
life = {"cool_down_s": seconds, "resolve_after_s": seconds}
rules = st.one_of(
    st.builds(FakeHeld, name=st.just("r"), for_s=seconds, **life),
    st.builds(
        ProbabilityAbove, name=st.just("r"), above=st.just(0.7), windows=st.integers(1, 3), of=st.just(4), **life
    ),
    st.builds(NoFace, name=st.just("r"), for_s=seconds, **life),
    st.builds(StreamDown, name=st.just("r"), for_s=seconds, **life),
)


def run(rule: Rule, happened: list[tuple[int, Step]]) -> tuple[RuleBook, list[tuple[float, Alert]]]:
    """All alerts with the time they were told at."""
    book, now_s, pts_s = book_of(rule), 0.0, dict.fromkeys(STREAMS, 0.0)
    states = dict.fromkeys(STREAMS, StreamState.PLAYING)
    told: list[tuple[float, Alert]] = []
    for number, step in happened:
        stream = STREAMS[number]
        now_s += step.passed_s
        pts_s[stream] = 0.0 if step.has_jumped else pts_s[stream] + step.passed_s
        states[stream] = step.state
        if step.faces is None:
            changed = book.tick(states, now_at(now_s))
        else:
            shown = [face_of(track, verdict, p, pts_s[stream]) for track, verdict, p in step.faces]
            changed = book.scene(scene_at(pts_s[stream], *shown, state=step.state, stream=stream), now_at(now_s))
        told += [(now_s, alert) for alert in changed]
    return book, told


history = st.lists(st.tuples(st.integers(0, 1), steps), max_size=60)


@given(rules, history)
@settings(deadline=None, max_examples=150)
def test_an_alert_fires_once_resolves_once_and_none_is_left_at_the_end(
    rule: Rule, happened: list[tuple[int, Step]]
) -> None:
    book, told = run(rule, happened)
    told += [(0.0, alert) for alert in book.end(now_at(10_000))]
    by_id: dict[str, list[AlertState]] = defaultdict(list)
    for _, alert in told:
        by_id[alert.id].append(alert.state)
    assert all(states == [AlertState.FIRING, AlertState.RESOLVED] for states in by_id.values())


@given(rules, history)
@settings(deadline=None, max_examples=150)
def test_one_alert_at_most_is_alive_for_each_rule_stream_and_face(rule: Rule, happened: list[tuple[int, Step]]) -> None:
    alive = set[object]()
    for _, alert in run(rule, happened)[1]:
        key = (alert.rule, alert.stream, alert.track_id)
        assert (key in alive) is (alert.state is AlertState.RESOLVED)
        alive ^= {key}


@given(rules, history)
@settings(deadline=None, max_examples=150)
def test_a_rule_keeps_quiet_about_a_stream_while_it_cools_down(rule: Rule, happened: list[tuple[int, Step]]) -> None:
    newest: dict[str, float] = {}
    for at, alert in run(rule, happened)[1]:
        if alert.state is AlertState.FIRING:
            assert at - newest.get(alert.stream, -1e9) >= rule.cool_down_s - 1e-6
            newest[alert.stream] = at


@given(st.lists(st.tuples(st.sampled_from(Verdict), st.sampled_from([0.1, 0.5, 1.5])), max_size=50))
@settings(deadline=None, max_examples=100)
def test_a_held_verdict_fires_exactly_when_it_was_held_for_so_long(seen: list[tuple[Verdict, float]]) -> None:
    book, at, since, has_fired = book_of(replace(FAKE, for_s=2.0, resolve_after_s=0)), 0.0, None, False
    for verdict, passed_s in seen:
        at += passed_s
        since = (at if since is None else since) if verdict is Verdict.FAKE else None
        is_due = since is not None and round(at * SECOND) - round(since * SECOND) >= 2 * SECOND and not has_fired
        assert bool(book.scene(scene_at(at, face_of(1, verdict)), now_at(0))) is is_due
        has_fired |= is_due


@given(
    st.lists(
        st.tuples(st.frozensets(st.integers(1, 3), max_size=2), st.sampled_from([0.125, 0.5, 1.5, 4.0])), max_size=50
    )
)
@settings(deadline=None, max_examples=100)
def test_whatever_their_numbers_are_faces_fire_when_one_of_them_was_fake_for_so_long(
    seen: list[tuple[frozenset[int], float]],
) -> None:
    book, at, held, newest = book_of(replace(FAKE, for_s=2.0, resolve_after_s=3.0)), 0.0, 0.0, None
    before = frozenset[int]()
    for faces, passed_s in seen:
        at += passed_s
        if faces and newest is not None:
            held = held + passed_s if before else held if at - newest <= 3.0 else 0.0
        newest, before = at if faces else newest, faces
        fired = book.scene(scene_at(at, *map(face_of, sorted(faces))), now_at(0))
        assert bool(fired) is (bool(faces) and held >= 2.0)
        if fired:
            break
