"""The OpenAPI of the dashboard keeps its word: every answer is one that the schema names."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, GenerationMode
from schemathesis.core.result import Ok

from tests.support.running import TOKEN, Running, running_daemon

# An endless answer, tested by itself.
_ENDLESS = "GET /api/v1/events"
_BUTTONS = ("POST /api/v1/kill", "POST /api/v1/pause")
_EXAMPLES = settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
# A body that is too long is refused before anybody reads it.
_REFUSED = ["400", "401", "403", "404", "405", "413", "415", "422"]
_CONFIG = schemathesis.Config.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": _REFUSED}}}
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_daemon(tmp_path_factory.mktemp("schema"), speed=1) as one:
        one.wait_for("dashboard.serving")
        yield one


@pytest.fixture(scope="module")
def operations(daemon: Running) -> dict[str, APIOperation[Any, Any, Any, Any]]:
    known = schemathesis.openapi.from_dict(
        json.loads(daemon.ask("/openapi.json")[1]), config=_CONFIG
    )
    found = [result.ok() for result in known.get_all_operations() if isinstance(result, Ok)]
    return {one.label: one for one in found if one.label != _ENDLESS}


def play(
    operation: APIOperation[Any, Any, Any, Any],
    daemon: Running,
    mode: GenerationMode,
    **headers: str,
) -> list[int]:
    statuses: list[int] = []

    @_EXAMPLES
    @given(st.data())
    def run(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        given_headers = {**dict(case.headers or {}), **headers}
        answer = case.call_and_validate(
            base_url=f"http://127.0.0.1:{daemon.port}", headers=given_headers, timeout=10
        )
        statuses.append(answer.status_code)

    run()
    return statuses


def test_every_valid_request_is_answered_as_the_schema_says(
    daemon: Running, operations: dict[str, APIOperation[Any, Any, Any, Any]]
) -> None:
    assert len(operations) >= 20

    for label, operation in sorted(operations.items()):
        statuses = play(operation, daemon, GenerationMode.POSITIVE)
        if label in _BUTTONS:
            # Nobody can guess the token.
            assert set(statuses) == {401}


def test_no_invalid_request_gets_anywhere(
    daemon: Running, operations: dict[str, APIOperation[Any, Any, Any, Any]]
) -> None:
    guarded = {label: one for label, one in operations.items() if one.query or one.body}

    for _, operation in sorted(guarded.items()):
        statuses = play(operation, daemon, GenerationMode.NEGATIVE)
        assert not {status for status in statuses if status >= 500}


def test_with_the_token_the_buttons_answer_as_the_schema_says(
    daemon: Running, operations: dict[str, APIOperation[Any, Any, Any, Any]]
) -> None:
    for label in reversed(_BUTTONS):
        statuses = play(
            operations[label],
            daemon,
            GenerationMode.POSITIVE,
            Authorization=f"Bearer {TOKEN}",
        )
        assert 202 in statuses

    assert daemon.json("/api/v1/status")["trading_state"] == "HALTED"
