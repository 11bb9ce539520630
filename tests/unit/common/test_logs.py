"""Logs: one JSON object a line, of our own events and of what libraries say."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from common import logs


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[str]]]:
    """Lines written to standard error so far; structlog and logging are as they were afterwards."""

    def written() -> list[str]:
        return capsys.readouterr().err.splitlines()

    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield written
    structlog.reset_defaults()
    structlog.configure(**before)
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger(logs.OWN).setLevel(logging.NOTSET)


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


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 2), ("warning", 2), ("error", 1)])
def test_libraries_log_from_warning_on(lines: Callable[[], list[str]], level: str, shown: int) -> None:
    logs.configure(level)
    library = logging.getLogger("some.library")
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        library.log(number, "it says %s", "so")
    entries = [json.loads(line) for line in lines()]
    assert [(each["event"], each["logger"]) for each in entries] == [("it says so", "some.library")] * shown


def test_a_crash_inside_a_library_is_one_line_with_the_request_id(lines: Callable[[], list[str]]) -> None:
    logs.configure("info")

    async def run() -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "it broke", "exception": KeyError("deep")})

    with structlog.contextvars.bound_contextvars(request_id="r2"):
        asyncio.run(run())
    (line,) = lines()
    entry = json.loads(line)
    assert (entry["event"], entry["logger"], entry["level"], entry["request_id"]) == (
        "it broke",
        "asyncio",
        "error",
        "r2",
    )
    assert "KeyError: 'deep'" in entry["exception"]


LIBRARIES = """
import asyncio, warnings
import structlog
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from common import logs

async def ask_a_database_that_is_not_there():
    pool = AsyncConnectionPool("host=127.0.0.1 port=1 connect_timeout=2", open=False, min_size=1, timeout=3)
    await pool.open()
    try:
        await pool.wait(timeout=3)
    except PoolTimeout as error:
        structlog.get_logger().warning("own", error=str(error))
    await pool.close()

logs.configure("info")
warnings.warn("an old\\nname", stacklevel=1)
asyncio.run(ask_a_database_that_is_not_there())
"""


def test_real_libraries_write_json_lines_too() -> None:
    """What was seen: psycopg's pool wrote bare text between the orchestrator's JSON lines."""
    command = [sys.executable, "-W", "default", "-c", LIBRARIES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    entries: list[dict[str, Any]] = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(each["timestamp"].endswith("Z") and each["level"] == "warning" for each in entries)
    assert {each.get("logger") for each in entries} == {"psycopg.pool", "py.warnings", None}
    assert any("error connecting in" in each["event"] for each in entries)
    assert any("an old" in each["event"] for each in entries)


def test_keys_and_secrets_are_cut_wherever_they_stand() -> None:
    key, secret = f"ig_{'aZ0-_' * 9}"[:46], f"whsec_{'aZ0+/' * 8}aaaa="
    line = logs.mask(None, "info", json.dumps({"request_id": key, "error": f"in {key}: {secret}", "config_big": "x"}))
    assert json.loads(line) == {"request_id": "ig_...", "error": "in ig_...: whsec_...", "config_big": "x"}
