"""Logs: one JSON object a line, with what is bound to the context."""

import json
from collections.abc import Callable, Iterator

import pytest
import structlog

from gateway import logs as gateway_logs
from orchestrator import logs


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[str]]]:
    """Lines written to standard error so far; structlog is as it was afterwards."""

    def written() -> list[str]:
        return capsys.readouterr().err.splitlines()

    before = structlog.get_config()
    yield written
    structlog.reset_defaults()
    structlog.configure(**before)


def test_a_line_is_json_with_the_request_id(lines: Callable[[], list[str]]) -> None:
    logs.configure("info")
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger().info("job_ended", seconds=1.5, path=object, text="ä\n")
    (line,) = lines()
    entry = json.loads(line)
    assert (entry["event"], entry["level"], entry["request_id"], entry["seconds"]) == ("job_ended", "info", "r1", 1.5)
    assert entry["text"] == "ä\n"
    assert entry["timestamp"].endswith("Z")


def test_a_crash_is_logged_with_its_trace_on_one_line(lines: Callable[[], list[str]]) -> None:
    logs.configure("error")
    try:
        raise ZeroDivisionError("why")  # noqa: TRY301
    except ZeroDivisionError:
        structlog.get_logger().exception("job_crashed")
    (line,) = lines()
    assert "ZeroDivisionError: why" in json.loads(line)["exception"]


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels(lines: Callable[[], list[str]], level: str, shown: int) -> None:
    logs.configure(level)
    log = structlog.get_logger()
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("x")
    assert len(lines()) == shown


@pytest.mark.parametrize("mask", [logs.mask, gateway_logs.mask])
def test_keys_and_secrets_are_cut_wherever_they_stand(mask: Callable[[object, str, str], str]) -> None:
    key, secret = f"ig_{'aZ0-_' * 9}"[:46], f"whsec_{'aZ0+/' * 8}aaaa="
    line = mask(None, "info", json.dumps({"request_id": key, "error": f"in {key}: {secret}", "config_big": "x"}))
    assert json.loads(line) == {"request_id": "ig_...", "error": "in ig_...: whsec_...", "config_big": "x"}
