"""Scenes and alerts on their way to listeners: bounded, whatever a listener does."""

from __future__ import annotations

from dataclasses import replace

from stream.types import Scene, StreamName
from stream.web.scenes import ALERTS_MOST, HISTORY_S, SceneHub
from tests.stream.web.site import alert_of, scene_of


class Bell:
    def __init__(self) -> None:
        self.rings = 0

    def __call__(self) -> None:
        self.rings += 1


def test_a_slow_listener_loses_scenes_and_gets_the_newest() -> None:
    hub, bell = SceneHub(wall_clock=lambda: 5.0), Bell()
    with hub.listening(bell) as box:
        for probability in (0.1, 0.2, 0.3):
            hub.publish(scene_of(probability))
        hub.publish(scene_of(0.7, stream="gate"))
        mail = box.take()
    assert [(told.scene.stream, told.scene.faces[0].fake_probability) for told in mail.scenes] == [
        ("yard", 0.3),
        ("gate", 0.7),
    ]
    assert bell.rings == 1


def test_alerts_are_kept_in_order_until_there_are_too_many() -> None:
    hub = SceneHub()
    with hub.listening(Bell()) as box:
        for number in range(ALERTS_MOST):
            hub.alert_changed(alert_of(str(number)))
        assert not box.is_lost
        hub.alert_changed(alert_of("one too many"))
        assert box.is_lost
        assert [alert.id for alert in box.take().alerts] == [str(number) for number in range(ALERTS_MOST)]


def test_the_bell_rings_again_once_the_box_was_emptied() -> None:
    hub, bell = SceneHub(), Bell()
    with hub.listening(bell) as box:
        hub.streams_changed()
        hub.streams_changed()
        assert (bell.rings, box.take().streams_changed, box.take().streams_changed) == (1, True, False)
        hub.alert_changed(alert_of())
        assert bell.rings == 2


def test_who_listens_late_begins_with_what_is_there_and_who_left_gets_nothing() -> None:
    hub, bell = SceneHub(), Bell()
    hub.publish(scene_of())
    with hub.listening(bell) as box:
        assert len(box.take().scenes) == 1
    hub.publish(scene_of())
    assert box.take().scenes == ()


def test_a_stream_that_is_gone_is_told_no_more() -> None:
    hub = SceneHub()
    hub.publish(scene_of())
    hub.publish(Scene(StreamName("yard"), is_last=True))
    assert hub.all_newest() == ()
    assert hub.newest(StreamName("yard")) is None


def test_scores_are_told_by_wall_time() -> None:
    hub = SceneHub(wall_clock=lambda: 1000.0)
    hub.publish(scene_of(0.9, pts_s=40.0))
    (told,) = hub.all_newest()
    assert hub.history(told, told.scene.faces[0]) == [(999.0, 0.5), (1000.0, 0.9)]


def test_minutes_of_a_faces_scores_are_remembered_one_a_second_and_no_more() -> None:
    now = [0.0]
    hub = SceneHub(wall_clock=lambda: now[0])
    for step in range(5 * 400):
        now[0] = step / 5
        hub.publish(scene_of(step / 2000, pts_s=2 + step / 5))
    (told,) = hub.all_newest()
    history = hub.history(told, told.scene.faces[0])
    times = [at for at, _ in history]
    assert times == sorted(times)
    assert 0.9 * HISTORY_S < len(history) <= HISTORY_S + 2
    assert times[-1] == now[0]


def test_a_face_that_has_gone_is_forgotten() -> None:
    hub = SceneHub(wall_clock=lambda: 1.0)
    hub.publish(scene_of())
    hub.publish(replace(scene_of(), faces=()))
    assert hub._past == {"yard": {}}
