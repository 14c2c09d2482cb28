"""The API does what its description says, whatever it is sent: schemathesis makes it up from the description."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from stream.config_web import WebConfig
from stream.web.users import User
from tests.stream.web.conftest import TOKENS
from tests.stream.web.site import Site, alert_of, open_site, scene_of, users_file

EXAMPLES = 6
"""For each operation: some seconds in all, always the same ones."""
ENDLESS = ("/events", "/video.mjpeg")
WANTED = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.fixture(scope="module")
def busy_site(tmp_path_factory: pytest.TempPathFactory, known_users: tuple[User, ...]) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("described")
    config = WebConfig(enabled=True, port=0, users=users_file(folder / "users.yaml", *known_users))
    with open_site(config) as site:
        site.services.hub.publish(scene_of())
        site.web.alerts.alert_changed(alert_of("a1"))
        yield site


def operations(site: Site, mode: GenerationMode) -> Iterator[Any]:
    """Those that end; without a parameter nothing can be wrong."""
    described = site.client(TOKENS["admin"]).get("/api/v1/openapi.json").json()
    for found in schemathesis.openapi.from_dict(described).get_all_operations():
        operation = found.ok()
        if operation.path.endswith(ENDLESS):
            continue
        if mode is GenerationMode.POSITIVE or operation.body or list(operation.iter_parameters()):
            yield operation


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as described", "otherwise"])
def test_it_answers_as_described(busy_site: Site, mode: GenerationMode) -> None:
    load_all_checks()
    checks = list(CHECKS.get_by_names(list(WANTED)))
    assert len(checks) == len(WANTED)
    headers, tried = {"Authorization": f"Bearer {TOKENS['admin']}"}, set()
    known = list(operations(busy_site, mode))
    for operation in known:
        strategy = operation.as_strategy(generation_mode=mode)

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def answers(case: Any) -> None:
            case.call_and_validate(base_url=busy_site.url, headers=headers, checks=checks)
            tried.add(case.operation.label)

        answers()
    assert tried == {operation.label for operation in known}
    assert len(tried) > 5


def test_every_mistake_is_described_as_one_line(busy_site: Site) -> None:
    described = busy_site.client(TOKENS["viewer"]).get("/api/v1/openapi.json").json()
    for path, methods in described["paths"].items():
        for method, about in methods.items():
            for status, answer in about["responses"].items():
                if status >= "400" and path != "/readyz":
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, (method, path, status)


@settings(max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT"]),
    path=st.lists(
        st.sampled_from(["api", "v1", "streams", "alerts", "..", "%2e%2e", "%00", "%ff", "yard", "é", "*", ""])
    ),
    body=st.one_of(st.none(), st.binary(max_size=50)),
)
def test_no_path_makes_it_stumble(busy_site: Site, method: str, path: list[str], body: bytes | None) -> None:
    client = busy_site.opened[0]
    place = "/" + "/".join(path)
    if method == "DELETE" and place.endswith("/streams/yard"):
        return
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKENS['admin']}"}
    assert client.request(method, busy_site.url + place, content=body, headers=headers).status_code < 500
