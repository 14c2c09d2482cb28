"""The real Prometheus scrapes a real watch of a made-up RTSP camera: what we ship fires and resolves there."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.deploy.dashboard import filled, metrics_in, queries
from tests.deploy.prometheus import Prometheus, prometheus, promtool
from tests.deploy.test_prometheus_rules import SOMETIMES, asked, families_of, recorded
from tests.stream.sources.video_parts import need_gst, wait_until

need_gst()

from bench.faulty_camera import FaultyCamera, picture  # noqa: E402
from engines.runtime.ports import Array  # noqa: E402
from tests.stream.faults.rig import BESIDE, CAMERA, Model, Watching, beside, camera_at, watching  # noqa: E402

pytestmark = pytest.mark.timeout(180)


class Fickle(Model):
    """Calls every face genuine, until it is told otherwise."""

    logit = -4.0

    def _judge(self, features: Array, mask: Array) -> Array:  # noqa: ARG002 - the head's signature
        return np.full(len(features), self.logit, np.float32)


@dataclass(frozen=True)
class Watched:
    """Everything that runs."""

    camera: FaultyCamera
    model: Fickle
    run: Watching
    prometheus: Prometheus

    def fires(self, alert: str, stream: str = CAMERA) -> bool:
        return alert in self.prometheus.firing(stream=stream)


def endpoint(watched: Watched) -> str:
    with urllib.request.urlopen(watched.run.metrics_url, timeout=30) as answer:
        return str(answer.read().decode())


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    model, folder = Fickle(), tmp_path_factory.mktemp("prometheus")
    with (
        FaultyCamera(picture("ball")) as camera,
        watching(camera_at(camera.url), beside(), model=model) as run,
        prometheus(folder, [urlsplit(run.metrics_url).netloc]) as server,
    ):
        run.await_scores()
        known = 'rate(unmask_windows_scored_total{stream="camera",verdict="real"}[3s]) > 0'
        wait_until(lambda: server.query(known), "scores in Prometheus")
        yield Watched(camera, model, run, server)


def test_every_rule_evaluates(watched: Watched) -> None:
    wait_until(lambda: all(rule["health"] != "unknown" for rule in watched.prometheus.rules()), "every rule's turn")
    rules = watched.prometheus.rules()
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}


def test_nothing_fires_while_all_is_well(watched: Watched) -> None:
    wait_until(lambda: not watched.prometheus.firing(stream=CAMERA), "the end of earlier alerts")
    assert watched.prometheus.firing(stream=BESIDE) == set()


def test_a_camera_that_is_gone_fires_and_resolves_when_it_is_back(watched: Watched) -> None:
    watched.camera.kill()
    wait_until(lambda: watched.fires("UnmaskStreamDown"), "the alert of the lost camera")
    assert not watched.fires("UnmaskStreamDown", BESIDE)
    watched.camera.start_again(picture("ball"))
    wait_until(lambda: not watched.fires("UnmaskStreamDown"), "the end of the alert")
    assert watched.run.witness.is_playing()


def test_a_fake_fires_and_resolves_when_it_is_over(watched: Watched) -> None:
    assert not watched.fires("UnmaskFakeSeen")
    watched.model.logit = 4.0
    wait_until(lambda: watched.fires("UnmaskFakeSeen") and watched.fires("UnmaskFakeHeld"), "the alerts of the fake")
    watched.model.logit = -4.0
    wait_until(lambda: not watched.fires("UnmaskFakeSeen"), "the end of the alert")
    wait_until(lambda: not watched.fires("UnmaskFakeHeld"), "the end of the louder alert")


def test_every_metric_that_is_asked_for_is_on_the_endpoint(watched: Watched) -> None:
    names = families_of(endpoint(watched))
    assert asked() - names - recorded() - set(SOMETIMES) == set()


def test_what_it_answers_pleases_promtool(watched: Watched) -> None:
    ended = promtool("check", "metrics", stdin=endpoint(watched))
    assert (ended.returncode, ended.stderr) == (0, "")


# The dashboard


NEEDS_A_REASON = {
    "Restarts",  # an annotation: none happened
    "Fakes",
    "Alerts of Prometheus that fire",
    "Faces too poor to be scored",
    "Slots left empty, by reason",
    "Deliveries",  # needs a receiver
    "Alerts that wait on disk",
}
"""What is empty while all is well, and without alerts being sent."""


def test_every_panel_is_answered_and_shows_something(watched: Watched) -> None:
    missing = set(SOMETIMES)
    empty = {title for title, ask in queries() if not watched.prometheus.query(filled(ask))}
    explained = {title for title, ask in queries() if metrics_in(ask) & missing}
    assert empty - explained - NEEDS_A_REASON == set()
